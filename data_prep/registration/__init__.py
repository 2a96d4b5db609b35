"""Register a patient's two scans: the comparators of the paper's Fig. 2, affine, B-spline and VoxelMorph."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from data_prep.registration.base import Registration

__all__ = ["METHODS", "Registration", "make_registration"]

CLASSES = {"affine": "AffineRegistration", "bspline": "BSplineRegistration", "voxelmorph": "VoxelMorphRegistration"}
METHODS = tuple(CLASSES)


def make_registration(method: str, **options: Any) -> Registration:
    """Make a method by its name.

    Args:
        method: ``affine``, ``bspline`` or ``voxelmorph``.
        options: those of :class:`Registration`.

    Raises:
        ValueError: if there is no such method.
        InputError: if a library is missing that the method needs, or the window is not positive.
    """
    if method not in CLASSES:
        raise ValueError(f"method: expected one of {', '.join(METHODS)} but got {method!r}")
    # each imports a large library of its own
    made: Registration = getattr(import_module(f"data_prep.registration.{method}"), CLASSES[method])(**options)
    return made
