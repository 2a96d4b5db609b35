"""Take a margin in mm off the edge of a mask, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

__all__ = ["erode_in_plane"]


def erode_in_plane(mask: np.ndarray, margin: float, spacing: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return what lies deeper than a margin in a mask; what lies beyond the image counts as inside.

    Args:
        mask: bool, ``(X, Y, Z)``; slices are along the last axis.
        margin: in mm.
        spacing: of the first two axes in mm; further ones are left out.
    """
    padded = np.pad(mask, ((1, 1), (1, 1), (0, 0)), mode="edge")
    inner = [
        plane
        if plane.all() or not plane.any()
        else ndimage.distance_transform_edt(plane, sampling=spacing[:2]) > margin
        for plane in np.moveaxis(padded, 2, 0)
    ]
    return np.stack(inner, axis=2)[1:-1, 1:-1]
