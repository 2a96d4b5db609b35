"""Scale MR intensities, which have no unit: 0 stays 0, and 1000 is the 99.5th percentile (decision 23)."""

from __future__ import annotations

import numpy as np

from monai_nce.errors import InputError

__all__ = ["FULL_SCALE", "full_scale", "scale_intensity"]

PERCENTILE = 99.5
FULL_SCALE = 1000.0


def full_scale(volume: np.ndarray) -> float:
    """Find the value that becomes 1000: the 99.5th percentile of the whole volume as acquired.

    Raises:
        InputError: if the values are not an MR image's: NaN or infinite, or nothing above 0 at that percentile.
    """
    if not np.isfinite(volume).all():
        raise InputError("holds NaN or infinite values")
    value = float(np.percentile(volume, PERCENTILE))
    if value <= 0:
        raise InputError(f"its {PERCENTILE}th percentile is {value:g}: not an MR image")
    return value


def scale_intensity(volume: np.ndarray, top: float, most: float = FULL_SCALE) -> np.ndarray:
    """Map 0 to 0 and ``top``, as of :func:`full_scale`, to 1000, and clip what lies below 0 or above ``most``."""
    return np.clip(volume * (FULL_SCALE / top), 0.0, most)
