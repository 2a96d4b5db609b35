"""Draw smooth random fields, which shape what no map names: fat in muscle, bowel loops, texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["smooth_noise"]

POINTS = 4  # of the lattice in a wavelength


def smooth_noise(
    shape: tuple[int, ...], spacing: float, wavelength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw a Gaussian random field of zero mean and unit variance.

    Args:
        shape: of the field.
        spacing: mm between its voxels.
        wavelength: mm from crest to crest, about.
    """
    step = max(wavelength / POINTS / spacing, 1.0)  # voxels between the lattice's points
    coarse = tuple(int(np.ceil(n / step)) + 3 for n in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 0.7, mode="wrap")
    field /= field.std()
    for axis, (n, start) in enumerate(zip(shape, rng.uniform(0, 1, size=len(shape)), strict=True)):
        places = start + np.arange(n) / step
        first = places.astype(int)
        share = (places - first).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(len(shape))])
        low, high = (field.take(first + k, axis=axis) for k in (0, 1))
        field = low + share * (high - low)
    return field
