"""Compare affines, turn volumes upright, and refuse an affine that no scan of a patient has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from monai_nce.errors import InputError

__all__ = ["canonical", "check_affine", "in_mm", "mm_apart"]

SIZES_MM = (0.01, 100.0)  # beyond it the header's unit is another one


def check_affine(path: Path, affine: np.ndarray) -> None:
    """Refuse an affine that is not finite, singular, or of voxels that cannot be in millimetres.

    Raises:
        InputError: naming the file and its voxels' sizes.
    """
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise InputError(f"{path}: its affine is singular or not finite")
    sizes = voxel_sizes(affine)
    if sizes.min() < SIZES_MM[0] or sizes.max() > SIZES_MM[1]:
        limits = f"{SIZES_MM[0]:g} to {SIZES_MM[1]:g} mm"
        raise InputError(f"{path}: expected voxels of {limits} but got {in_mm(sizes)}: is the unit another one?")


def in_mm(sizes: np.ndarray) -> str:
    """Write sizes as ``0.7 × 0.7 × 5 mm``."""
    return " × ".join(f"{size:.4g}" for size in sizes) + " mm"


def mm_apart(affine: np.ndarray, other: np.ndarray, shape: Sequence[int]) -> float:
    """Return how far apart in mm two affines put a voxel of a volume (H, W, D), at most: that is at a corner."""
    corners = np.array([[*corner, 1] for corner in np.ndindex(2, 2, 2)]) * [*(size - 1 for size in shape), 1]
    return float(np.linalg.norm((corners @ (np.asarray(affine) - np.asarray(other)).T)[:, :3], axis=1).max())


def canonical(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn and flip axes so that they run to the right, to the front and upwards, as nearly as they can.

    The voxels stay at their places, with axial slices along the last axis; the affine follows.
    """
    image = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
