"""Average a CT to voxels of about 3 mm, in which body, lungs and vessels are still told apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, io_orientation
from scipy import ndimage

from monai_nce.transforms.body_mask import body_mask

__all__ = ["CoarseScan"]

LEAST_MM = 2.4  # of a coarse voxel's sides in plane
APART_MM = 5.0  # from one slice that is looked at to the next


@dataclass(frozen=True)
class CoarseScan:
    """Hold a scan of few voxels: ``hu`` and ``body`` ``(X, Y, Z)`` to right, anterior and superior; ``spacing`` in mm.

    Of thin slices every second or third is left out, and the spacing is that of those that are left.
    """

    hu: np.ndarray
    body: np.ndarray
    spacing: np.ndarray

    @classmethod
    def of(cls, volume: np.ndarray, affine: np.ndarray) -> CoarseScan:
        """Average ``volume``, (H, W, D) in HU, with the 4×4 ``affine`` from voxel indices to RAS millimetres."""
        orientation = io_orientation(affine)
        axes = orientation[:, 0].astype(int)  # of RAS, for each of the volume's own
        hu, spacing = _average(volume, voxel_sizes(affine), int(np.argmax(axes == 2)))
        hu = np.ascontiguousarray(apply_orientation(hu, orientation))
        return cls(hu, body_mask(hu[None])[0], spacing[np.argsort(axes)])

    @property
    def voxel_ml(self) -> float:
        """Return the volume of a voxel in ml."""
        return float(np.prod(self.spacing)) / 1000

    def mean_and_deviation(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each voxel and its neighbours in the slice."""
        mean = ndimage.uniform_filter(self.hu, (3, 3, 1))
        square = ndimage.uniform_filter(self.hu**2, (3, 3, 1))
        return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _average(volume: np.ndarray, sizes: np.ndarray, slice_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Average blocks of voxels, and leave slices out; return the blocks and how far apart they are along each axis."""
    factors = np.clip(np.ceil(LEAST_MM / sizes), 1, volume.shape).astype(int)
    every = max(round(APART_MM / float((sizes * factors)[slice_axis])), 1)
    steps = factors.copy()
    steps[slice_axis] *= every
    coarse = volume[
        tuple(slice(0, size // factor * factor) for size, factor in zip(volume.shape, factors, strict=True))
    ]
    coarse = coarse.astype(np.float32, copy=False)
    # the slices first, since most of them go; then as the voxels lie in memory
    others = [int(axis) for axis in np.argsort(volume.strides)[::-1] if axis != slice_axis]
    for axis in (slice_axis, *others):
        parts = [coarse[(slice(None),) * axis + (slice(at, None, steps[axis]),)] for at in range(factors[axis])]
        coarse = parts[0]
        if len(parts) > 1:  # reshaping and one mean over all takes three times as long
            coarse = sum(parts[2:], start=parts[0] + parts[1])
            coarse *= np.float32(1 / len(parts))
    return coarse, sizes * steps
