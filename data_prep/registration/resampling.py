"""Values of a volume at points between its voxels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

__all__ = ["grid_points", "pull"]


def grid_points(shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """Where the voxels of a volume lie, (3, H, W, D), float32 in mm from the first.

    Args:
        shape: of the volume.
        spacing: of the volume, three numbers in mm.
    """
    return np.indices(shape, dtype=np.float32) * np.reshape(np.array(spacing, dtype=np.float32), (3, 1, 1, 1))


def pull(volume: np.ndarray, points: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Interpolate a volume linearly; beyond it its edge goes on.

    Not air: between two scans organs move along the body by centimetres, and what comes in from beyond the first or
    last slice is tissue.

    Args:
        volume: (H, W, D) in HU.
        points: (3, ...), places in mm from the first voxel.
        spacing: of the volume, three numbers in mm.

    Returns:
        Its values there, (...), float32.
    """
    sides = np.reshape(np.array(spacing, dtype=np.float32), (3,) + (1,) * (points.ndim - 1))
    values = ndimage.map_coordinates(np.asarray(volume, np.float32), points / sides, order=1, mode="nearest")
    return np.asarray(values, dtype=np.float32)
