"""Fixtures: a body in continuous coordinates, so that a scan of it can be moved without any interpolation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

SHAPE = (40, 36, 20)
SPACING = (3.0, 4.0, 6.0)
CENTRE = (np.array(SHAPE) - 1) * SPACING / 2


@pytest.fixture
def spacing() -> tuple[float, float, float]:
    return SPACING


@pytest.fixture
def points() -> np.ndarray:
    """(3, H, W, D): where the voxels lie, in mm from the first."""
    return np.indices(SHAPE) * np.reshape(SPACING, (3, 1, 1, 1))


@pytest.fixture
def scan() -> Callable[..., np.ndarray]:
    """``scan(points, contrast=False)``: HU at points in mm; contrast brightens some organs and leaves others.

    The body is cut off at the first and last slices, as in a real scan. No organ is like its mirror image.
    """

    def hu(points: np.ndarray, contrast: bool = False) -> np.ndarray:
        x, y, z = points - CENTRE.reshape(3, 1, 1, 1)

        def ellipsoid(at: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
            r = np.sqrt(sum(((p - c) / s) ** 2 for p, c, s in zip((x, y, z), at, radii, strict=True)))
            return 1 / (1 + np.exp((r - 1) * 10))

        volume = -1000 + 960 * ellipsoid((0, 0, 0), (52, 60, 400))
        for at, radii, plain, enhanced in (
            ((-20, 15, 8), (18, 24, 26), 90, 160),
            ((24, 10, -14), (12, 14, 18), 80, 130),
            ((18, -24, 20), (14, 12, 16), 70, 220),
            ((-16, -26, -18), (12, 16, 14), 85, 85),
            ((0, -45, 0), (8, 7, 300), 740, 740),
        ):
            volume += (enhanced if contrast else plain) * ellipsoid(at, radii)
        return volume.astype(np.float32)

    return hu


@pytest.fixture
def error() -> Callable[[np.ndarray, np.ndarray], float]:
    """Mean squared error within the window, on [-1, 1]."""

    def mse(a: np.ndarray, b: np.ndarray) -> float:
        a, b = (np.clip((volume - 50) / 150, -1, 1) for volume in (a, b))
        return float(np.mean((a - b) ** 2))

    return mse
