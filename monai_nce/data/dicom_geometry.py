"""DICOM slices into one volume: order, spacing and affine from the positions, never from SliceThickness."""

from __future__ import annotations

import filecmp
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DicomSeries", "DicomSlice", "assemble_series"]

STEP_TOLERANCE_MM = 0.1  # positions are often rounded to 0.01 mm
SAME_POSITION_MM = 0.01
# Sideways shift of slices that is let pass: rounded positions, and rounded direction cosines (0.06°). A gantry tilt
# of 1° is beyond it from a height of 1.3 mm on.
SHIFT_TOLERANCE_MM = 0.02
SHIFT_TOLERANCE_RAD = 1e-3
CONSTANT_TOLERANCE = 1e-4  # of direction cosines, and of the pixel spacing in mm
MAX_VOXELS = 2**30
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
CONSTANT = ("Rows", "Columns", "FrameOfReferenceUID")


@dataclass(frozen=True)
class DicomSeries:
    """A series that passed every check of its headers.

    Attributes:
        files: one file per slice, in order of position.
        shape: columns, rows and slices.
        affine: 4×4 matrix from (column, row, slice) to RAS millimetres, float64.
    """

    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    affine: np.ndarray


@dataclass(frozen=True)
class DicomSlice:
    """One file's header, and its geometry as numbers in DICOM's LPS millimetres."""

    path: Path
    header: Dataset
    position: np.ndarray  # centre of the first voxel
    axes: np.ndarray  # (2, 3): directions of growing column and row index
    spacing: np.ndarray  # between rows, between columns

    @property
    def normal(self) -> np.ndarray:
        return np.cross(*self.axes)


def assemble_series(folder: Path, slices: Sequence[DicomSlice]) -> DicomSeries:
    """Order slices into one volume, or say why they are none.

    Args:
        folder: where they lie, for messages.
        slices: at least one, in any order.

    Returns:
        The ordered files and their geometry. Byte-identical copies of a slice are dropped with a warning.

    Raises:
        InputError: if the slices differ in matrix, orientation, pixel spacing or frame of reference, if two different
            ones share a position, if their distances are uneven (a missing slice), if they are shifted in plane (a
            gantry tilt), or if a single slice does not say how thick it is.
    """
    _check_constant(folder, slices)
    slices = _ordered(folder, slices)
    step = _step(folder, slices)
    first = slices[0]
    shape = (int(first.header.Columns), int(first.header.Rows), len(slices))
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{folder}: {shape} voxels are more than this program takes ({MAX_VOXELS})")
    affine = np.eye(4)
    affine[:3, 0] = first.axes[0] * first.spacing[1]  # from one column to the next
    affine[:3, 1] = first.axes[1] * first.spacing[0]
    affine[:3, 2] = first.normal * step
    affine[:3, 3] = first.position
    return DicomSeries(tuple(item.path for item in slices), shape, LPS_TO_RAS @ affine)


def _check_constant(folder: Path, slices: Sequence[DicomSlice]) -> None:
    first = slices[0]
    for item in slices:
        differing = [keyword for keyword in CONSTANT if item.header.get(keyword) != first.header.get(keyword)]
        if not np.allclose(item.axes, first.axes, rtol=0, atol=CONSTANT_TOLERANCE):
            differing.append("ImageOrientationPatient")
        if not np.allclose(item.spacing, first.spacing, rtol=0, atol=CONSTANT_TOLERANCE):
            differing.append("PixelSpacing")
        if differing:
            raise InputError(f"{folder}: {first.path.name} and {item.path.name} differ in {', '.join(differing)}")


def _ordered(folder: Path, slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """By position along the normal, identical copies dropped, different slices at one position refused."""
    normal = slices[0].normal
    slices = sorted(slices, key=lambda item: float(item.position @ normal))
    kept = [slices[0]]
    for item in slices[1:]:
        if (item.position - kept[-1].position) @ normal > SAME_POSITION_MM:
            kept.append(item)
        elif not filecmp.cmp(item.path, kept[-1].path, shallow=False):
            raise InputError(
                f"{folder}: two different slices at position {item.position @ normal:.2f} mm:"
                f" {kept[-1].path.name} and {item.path.name}"
            )
    if len(kept) < len(slices):
        warnings.warn(f"{folder}: {len(slices) - len(kept)} identical copies of slices; left out", stacklevel=2)
    return kept


def _step(folder: Path, slices: Sequence[DicomSlice]) -> float:
    """Distance between slices in mm; refuse uneven distances and slices that are shifted in plane."""
    normal = slices[0].normal
    heights = np.array([item.position @ normal for item in slices])
    total = float(heights[-1] - heights[0])
    offsets = np.array([item.position - slices[0].position for item in slices])
    shift = float(np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1).max())
    if shift > SHIFT_TOLERANCE_MM + SHIFT_TOLERANCE_RAD * total:
        tilt = np.degrees(np.arctan2(shift, total))
        raise InputError(f"{folder}: slices are shifted by up to {shift:.2f} mm in plane, a gantry tilt of {tilt:.1f}°")
    if len(slices) == 1:
        thickness = float(slices[0].header.get("SliceThickness") or 0)
        if thickness <= 0:
            raise InputError(f"{folder}: a single slice without SliceThickness has no spacing")
        return thickness
    usual = float(np.median(np.diff(heights)))
    for low, high in itertools.pairwise(heights):
        if abs(high - low - usual) > STEP_TOLERANCE_MM:
            raise InputError(
                f"{folder}: uneven slices: {high - low:.2f} mm between the positions {low:.2f} and {high:.2f},"
                f" elsewhere {usual:.2f} mm"
            )
    drift = float(np.abs(heights - np.linspace(heights[0], heights[-1], len(heights))).max())
    if drift > STEP_TOLERANCE_MM:
        raise InputError(f"{folder}: uneven slices: up to {drift:.2f} mm off even positions")
    return total / (len(slices) - 1)
