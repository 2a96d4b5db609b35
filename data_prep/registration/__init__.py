"""Register a patient's two scans: the comparators of the paper's Fig. 2, affine, B-spline and VoxelMorph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from scipy import ndimage

from monai_nce.errors import InputError
from monai_nce.transforms.window import WindowHU

__all__ = ["METHODS", "SIMILARITIES", "Pair", "Registration", "grid_points", "make_registration", "pull"]

CLASSES = {"affine": "AffineRegistration", "bspline": "BSplineRegistration", "voxelmorph": "VoxelMorphRegistration"}
METHODS = tuple(CLASSES)
SIMILARITIES = {  # with the names that they have in provenance
    "mutual_information": "Mattes mutual information",
    "correlation": "normalised correlation",
    "mean_squares": "mean squares",
}
Pair = tuple[np.ndarray, np.ndarray, Sequence[float]]  # fixed and moving volume in HU, and their spacing in mm


class Registration(ABC):
    """Bring a ``moving`` volume onto a ``fixed`` one.

    What a method compares is windowed as the network sees it; what is resampled, once and linearly, are the HU.

    Args:
        window_level, window_width: centre and width of the window in HU.
        similarity: one of ``SIMILARITIES``; mutual information for scans that differ by contrast medium, the others for
            scans of one contrast.
        seed: seed of whatever is drawn at random; the same input and seed give the same output on a CPU.
        progress: show a bar where the method trains.

    Raises:
        InputError: if ``window_width`` is not positive, or there is no such ``similarity``.
    """

    learns = False  # whether fit has to see all pairs before the first is registered

    def __init__(
        self,
        window_level: float = 50.0,
        window_width: float = 300.0,
        seed: int = 0,
        progress: bool = True,
        similarity: str = "mutual_information",
    ) -> None:
        if similarity not in SIMILARITIES:
            raise InputError(f"similarity: expected one of {', '.join(SIMILARITIES)} but got {similarity!r}")
        self.similarity = similarity
        self.window = WindowHU(window_level, window_width)
        self.seed = seed
        self.progress = progress

    def fit(self, pairs: Sequence[Pair]) -> None:  # noqa: B027
        """Learn from all pairs; without effect where each pair is optimised by itself."""

    def register(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Resample ``moving`` onto the grid of ``fixed``; beyond the moving volume its edge goes on.

        Args:
            fixed, moving: (H, W, D) in HU; float32 when returned.
            spacing: of both, three numbers in mm.
        """
        return pull(moving, self.points(fixed, moving, spacing), spacing)

    @abstractmethod
    def points(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Find each voxel of ``fixed`` in ``moving``: (3, H, W, D), in mm from the first voxel."""

    @abstractmethod
    def method_settings(self) -> dict[str, Any]:
        """Describe the method for a data set's provenance."""

    def settings(self) -> dict[str, Any]:
        """Describe the method, its window and its seed for a data set's provenance."""
        window = {"window_level": self.window.window_level, "window_width": self.window.window_width}
        return {**self.method_settings(), **window, "seed": self.seed}


def grid_points(shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """Place the voxels of a volume: (3, H, W, D), float32 in mm from the first."""
    return np.indices(shape, dtype=np.float32) * np.reshape(np.array(spacing, dtype=np.float32), (3, 1, 1, 1))


def pull(volume: np.ndarray, points: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Interpolate a volume linearly; beyond it its edge goes on.

    Not air: between two scans organs move along the body by centimetres, and what comes in from beyond the first or
    last slice is tissue.

    Shape: points (3, ...), in mm from the first voxel; values (...), float32.
    """
    sides = np.reshape(np.array(spacing, dtype=np.float32), (3,) + (1,) * (points.ndim - 1))
    values = ndimage.map_coordinates(np.asarray(volume, np.float32), points / sides, order=1, mode="nearest")
    return np.asarray(values, dtype=np.float32)


def make_registration(method: str, **options: Any) -> Registration:
    """Make a method by its name, with the options of :class:`Registration`.

    Raises:
        ValueError: if there is no such method.
        InputError: if a library is missing that the method needs, or an option cannot be.
    """
    if method not in CLASSES:
        raise ValueError(f"method: expected one of {', '.join(METHODS)} but got {method!r}")
    # each imports a large library of its own
    made: Registration = getattr(import_module(f".{method}", __package__), CLASSES[method])(**options)
    return made
