"""Refuse an affine that no scan of a patient has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes

from monai_nce.errors import InputError

__all__ = ["check_affine", "in_mm"]

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
