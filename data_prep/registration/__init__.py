"""Registration of a patient's two scans: the comparators of the paper's Fig. 2, affine, B-spline and VoxelMorph.

Each method is a class with the settings it was tuned to, and brings a ``moving`` volume onto a ``fixed`` one. What it
compares is windowed as the network sees it; what it resamples, once and linearly, are the HU themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["METHODS", "Registration", "make_registration"]

METHODS = ("affine", "bspline", "voxelmorph")


class Registration(Protocol):
    """What the methods have in common.

    Attributes:
        learns: whether :meth:`fit` has to see all pairs before the first is registered.
    """

    learns: bool

    def fit(self, pairs: Sequence[tuple[np.ndarray, np.ndarray, Sequence[float]]]) -> None:
        """Learn from (fixed, moving, spacing), as in :meth:`register`; without effect where nothing is learnt."""

    def register(self, fixed: np.ndarray, moving: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
        """Bring ``moving`` onto ``fixed``, both (H, W, D) in HU with ``spacing`` in mm; float32 HU."""

    def settings(self) -> dict[str, Any]:
        """What a data set's provenance should say of the method."""


def make_registration(
    method: str, *, window_level: float = 50.0, window_width: float = 300.0, seed: int = 0, progress: bool = True
) -> Registration:
    """Make a method by its name.

    Args:
        method: ``affine``, ``bspline`` or ``voxelmorph``.
        window_level: centre of the window in HU.
        window_width: width of the window in HU.
        seed: seed of whatever is drawn at random.
        progress: show a bar where the method trains.

    Returns:
        The method, ready to :meth:`~Registration.fit`.

    Raises:
        ValueError: if there is no such method.
        InputError: if a library is missing that the method needs, or the window is not positive.
    """
    # each imports a large library of its own
    if method == "affine":
        from data_prep.registration.affine import AffineRegistration

        return AffineRegistration(window_level, window_width, seed)
    if method == "bspline":
        from data_prep.registration.bspline import BSplineRegistration

        return BSplineRegistration(window_level, window_width, seed)
    if method == "voxelmorph":
        from data_prep.registration.voxelmorph import VoxelMorphRegistration

        return VoxelMorphRegistration(window_level, window_width, seed, progress=progress)
    raise ValueError(f"method: expected one of {', '.join(METHODS)} but got {method!r}")
