"""From an MR volume as acquired to one as stored: slices, pixels and intensity (paper section 4.4.1; decision 23).

The paper keeps the 64 slices in the middle, resizes them to 128 × 128 and says nothing about intensity. Pixels are
kept square: slices that are not are padded about their centre first. Stored values run from 0 to 1000, as
``ixi.json`` expects them.
"""

from __future__ import annotations

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from torch.nn import functional

from monai_nce.errors import InputError

__all__ = ["FULL_SCALE", "PERCENTILE", "central_slices", "full_scale", "resize_in_plane", "scale_intensity"]

PERCENTILE = 99.5
FULL_SCALE = 1000.0


def central_slices(volume: np.ndarray, affine: np.ndarray, slices: int) -> tuple[np.ndarray, np.ndarray]:
    """The slices in the middle of the last axis.

    Args:
        volume: (H, W, D), with D at least ``slices``.
        affine: its 4×4 matrix from voxel indices to RAS millimetres.
        slices: how many; where as many cannot be left out on both sides, one more is left out above.

    Returns:
        (H, W, slices), and its affine.
    """
    first = (volume.shape[2] - slices) // 2
    moved = affine.copy()
    moved[:3, 3] += first * affine[:3, 2]
    return volume[:, :, first : first + slices], moved


def resize_in_plane(volume: np.ndarray, affine: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize each slice to ``size`` × ``size`` pixels, bilinearly, with antialiasing where pixels become larger.

    The field of view is made a square first, by zeros on both sides, so that pixels stay square. It keeps its outer
    faces, so the centre of the first pixel moves.

    Args:
        volume: (H, W, D).
        affine: its 4×4 matrix from voxel indices to RAS millimetres.
        size: pixels along both in-plane axes.

    Returns:
        (size, size, D) float32, and its affine.
    """
    extent = volume.shape[:2] * voxel_sizes(affine)[:2]
    padding = np.rint(extent.max() / voxel_sizes(affine)[:2]).astype(int) - volume.shape[:2]
    before, after = padding // 2, padding - padding // 2
    padded = np.pad(volume.astype(np.float32), [*zip(before, after, strict=True), (0, 0)])
    as_channels = torch.from_numpy(np.ascontiguousarray(padded.transpose(2, 0, 1)))[None]
    resized = functional.interpolate(as_channels, size=(size, size), mode="bilinear", antialias=True)

    step = np.array(padded.shape[:2]) / size  # in voxels of the volume
    to_voxels = np.diag([*step, 1.0, 1.0])
    to_voxels[:2, 3] = (step - 1) / 2 - before
    return resized[0].numpy().transpose(1, 2, 0), affine @ to_voxels


def full_scale(volume: np.ndarray) -> float:
    """The value that is stored as 1000: the 99.5th percentile.

    Args:
        volume: (H, W, D) as acquired, all of it.

    Raises:
        InputError: if the values are not an MR image's: NaN or infinite, or nothing above 0 at that percentile.
    """
    if not np.isfinite(volume).all():
        raise InputError("holds NaN or infinite values")
    value = float(np.percentile(volume, PERCENTILE))
    if value <= 0:
        raise InputError(f"its {PERCENTILE}th percentile is {value:g}: not an MR image")
    return value


def scale_intensity(volume: np.ndarray, top: float) -> np.ndarray:
    """Map 0 to 0 and ``top`` to 1000, and clip what lies beyond.

    Args:
        volume: of any shape.
        top: as :func:`full_scale` gave it for the volume as acquired.
    """
    return np.clip(volume * (FULL_SCALE / top), 0.0, FULL_SCALE)
