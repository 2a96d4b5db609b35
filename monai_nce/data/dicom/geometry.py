"""Assemble DICOM slices into one volume: order, spacing and affine from the positions, never from SliceThickness.

highdicom 0.28's ``get_volume_positions`` is not used for it: measured, it accepts a gantry tilt of 1° and gives the
spacing without its shear (0.04 mm per slice lost), refuses a uniform tilt of 15°, and
gives a single slice a spacing of 1.0 mm.
"""

from __future__ import annotations

import filecmp
import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DicomSeries", "DicomSlice", "assemble_series"]

OFF_MM = 0.1  # beyond it a slice is not where even steps would put it
NOTED_MM = 0.02  # positions are often rounded to 0.01 mm, which alone puts none farther off
SAME_POSITION_MM = 0.01
TILT_DEGREES = 0.06  # what rounded direction cosines and positions alone can make
MAX_TILT_DEGREES = 45.0  # gantries lean by up to 30°
APART_SECONDS = 8.0  # between the phases of one examination
AXES_TOLERANCE = 1e-5  # of direction cosines: 0.005 mm at the far end of a slice
SPACING_TOLERANCE = 2e-6  # mm: 0.001 mm over 512 pixels
MAX_VOXELS = 2**30
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
CONSTANT = ("Rows", "Columns", "TemporalPositionIdentifier")
MIN_OWN_FRAMES = 3  # slices of which each has a frame of reference of its own: fewer are even by themselves


@dataclass(frozen=True)
class DicomSlice:
    """Hold one slice's header, and its geometry as numbers in DICOM's LPS millimetres.

    Attributes:
        path: the file.
        header: its header.
        position: centre of the first voxel.
        axes: (2, 3), directions of growing column and row index.
        spacing: between rows, between columns.
        thickness: SliceThickness; 0 if it is not given.
        slope: of the rescaling to HU.
        intercept: likewise.
        unspecified: whether RescaleType says that the unit is not specified.
        frame: index of the frame in a multi-frame file, else None.
    """

    path: Path
    header: Dataset
    position: np.ndarray
    axes: np.ndarray
    spacing: np.ndarray
    thickness: float
    slope: float
    intercept: float
    unspecified: bool = False
    frame: int | None = None

    @property
    def normal(self) -> np.ndarray:
        """Return the unit vector across the slice."""
        normal = np.cross(*self.axes)
        return np.asarray(normal / np.linalg.norm(normal))

    @property
    def name(self) -> str:
        """Name the slice in messages."""
        return self.path.name if self.frame is None else f"{self.path.name}, frame {self.frame + 1}"


@dataclass(frozen=True)
class DicomSeries:
    """Hold a series that passed every check of its headers.

    Attributes:
        files: one file per slice, in order of position; of a multi-frame file the same one again and again.
        shape: columns, rows and slices.
        affine: 4×4 matrix from (column, row, slice) to RAS millimetres, float64. Its third column is the step from one
            slice's origin to the next, so that it is not perpendicular to the others where the gantry was tilted.
        slices: headers and geometry, in the same order.
    """

    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    affine: np.ndarray
    slices: tuple[DicomSlice, ...] = field(repr=False, compare=False)


def assemble_series(folder: Path, slices: Sequence[DicomSlice]) -> DicomSeries:
    """Order slices into one volume, or say why they are none.

    Byte-identical copies of a slice are dropped with a warning; a gantry tilt is kept in the affine, with a warning
    that says how many degrees it is.

    Args:
        folder: their folder, for messages.
        slices: at least one, in any order.

    Raises:
        InputError: if the slices differ in matrix, orientation, pixel spacing or frame of reference, if two different
            ones share a position, if their steps are uneven along the body (a missing slice) or in plane, if slices of
            two phases alternate, or if a single slice does not say how thick it is.
    """
    _check_constant(folder, slices)
    slices = _ordered(folder, slices)
    _check_frame_of_reference(folder, slices)
    _check_phases(folder, slices)
    if any(item.unspecified for item in slices):
        warnings.warn(f"{folder}: RescaleType is US (unspecified); taken for HU", ReaderWarning, stacklevel=2)
    first = slices[0]
    shape = (int(first.header.Columns), int(first.header.Rows), len(slices))
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{folder}: {shape} voxels are more than this program takes ({MAX_VOXELS})")
    axes = first.axes / np.linalg.norm(first.axes, axis=1, keepdims=True)
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * first.spacing[1]  # from one column to the next
    affine[:3, 1] = axes[1] * first.spacing[0]
    affine[:3, 2] = _step(folder, slices)
    affine[:3, 3] = first.position
    return DicomSeries(tuple(item.path for item in slices), shape, LPS_TO_RAS @ affine, tuple(slices))


def _check_constant(folder: Path, slices: Sequence[DicomSlice]) -> None:
    first = slices[0]
    for item in slices:
        differing = [keyword for keyword in CONSTANT if item.header.get(keyword) != first.header.get(keyword)]
        if not np.allclose(item.axes, first.axes, rtol=0, atol=AXES_TOLERANCE):
            differing.append("ImageOrientationPatient")
        if not np.allclose(item.spacing, first.spacing, rtol=0, atol=SPACING_TOLERANCE):
            differing.append("PixelSpacing")
        if differing:
            raise InputError(f"{folder}: {first.name} and {item.name} differ in {', '.join(differing)}")


def _check_frame_of_reference(folder: Path, slices: Sequence[DicomSlice]) -> None:
    """Refuse several frames of reference, unless an anonymiser gave each slice one, as it does file by file.

    Then nothing tells them apart, and whether they are one volume is decided by their positions.
    """
    uids = [item.header.get("FrameOfReferenceUID") for item in slices]
    different = set(uids)
    if len(different) == 1:
        return
    if len(different) < len(slices) or len(slices) < MIN_OWN_FRAMES or None in different or "" in different:
        other = next(item for item, uid in zip(slices, uids, strict=True) if uid != uids[0])
        raise InputError(f"{folder}: {slices[0].name} and {other.name} differ in FrameOfReferenceUID")
    text = f"{folder}: FrameOfReferenceUID differs in every slice, as some anonymisers leave it; taken for one volume"
    warnings.warn(text, ReaderWarning, stacklevel=3)


def _ordered(folder: Path, slices: Sequence[DicomSlice]) -> list[DicomSlice]:
    """Sort by position along the normal, drop identical copies, refuse different slices at one position."""
    normal = slices[0].normal
    slices = sorted(slices, key=lambda item: float(item.position @ normal))
    kept = [slices[0]]
    doubles = []
    for item in slices[1:]:
        if (item.position - kept[-1].position) @ normal > SAME_POSITION_MM:
            kept.append(item)
        elif item.path == kept[-1].path or not filecmp.cmp(item.path, kept[-1].path, shallow=False):
            doubles.append((kept[-1], item))
    if doubles:
        one, other = doubles[0]
        numbers = sorted({str(s.header.get("AcquisitionNumber")) for s in slices} - {"None"})
        acquisitions = f", of the acquisitions {', '.join(numbers[:4])}" if len(numbers) > 1 else ""
        raise InputError(
            f"{folder}: two different slices at position {one.position @ normal:.2f} mm: {one.name} and {other.name};"
            f" {len(doubles)} of {len(slices)} slices stand where another one does{acquisitions}"
        )
    if len(kept) < len(slices):
        text = f"{folder}: {len(slices) - len(kept)} identical copies of slices; left out"
        warnings.warn(text, ReaderWarning, stacklevel=2)
    return kept


def _check_phases(folder: Path, slices: Sequence[DicomSlice]) -> None:
    """Refuse two phases with slices between each other's, which would pass for one volume of half the spacing."""
    runs = [number for number, _ in itertools.groupby(_acquisition(item) for item in slices)]
    numbers = sorted(set(runs))
    if len(runs) == len(numbers):
        return  # of each acquisition one stretch, or a single acquisition
    spans = []
    for number in numbers:
        seconds = [_seconds(item) for item in slices if _acquisition(item) == number]
        if any(math.isnan(value) for value in seconds):
            return  # the number alone splits nothing
        spans.append((min(seconds), max(seconds), number))
    for (_, end, one), (start, _, other) in itertools.pairwise(sorted(spans)):
        if start - end > APART_SECONDS:
            raise InputError(
                f"{folder}: slices of the acquisitions {one} and {other}, taken {start - end:.0f} s apart, alternate:"
                " two phases in one series"
            )


def _acquisition(item: DicomSlice) -> str:
    return str(item.header.get("AcquisitionNumber") or "")


def _seconds(item: DicomSlice) -> float:
    """Return AcquisitionTime in seconds of the day; NaN if it is not given."""
    text = str(item.header.get("AcquisitionTime") or "")
    try:
        return 3600 * int(text[:2]) + 60 * int(text[2:4]) + float(text[4:])
    except ValueError:
        return math.nan


def _step(folder: Path, slices: Sequence[DicomSlice]) -> np.ndarray:
    """Return the step from one slice's origin to the next in mm; refuse uneven ones."""
    normal = slices[0].normal
    if len(slices) == 1:
        if slices[0].thickness <= 0:
            raise InputError(f"{folder}: a single slice without SliceThickness has no spacing")
        return np.asarray(normal * slices[0].thickness)
    positions = np.array([item.position for item in slices])
    heights = positions @ normal
    usual = float(np.median(np.diff(heights)))
    for low, high in itertools.pairwise(heights):
        if abs(high - low - usual) > OFF_MM:
            raise InputError(
                f"{folder}: uneven slices: {high - low:.2f} mm between the positions {low:.2f} and {high:.2f},"
                f" elsewhere {usual:.2f} mm"
            )
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    off = positions - positions[0] - np.outer(np.arange(len(slices)), step)
    along, aside = np.abs(off @ normal), np.linalg.norm(off - np.outer(off @ normal, normal), axis=1)
    if along.max() > OFF_MM:
        raise InputError(f"{folder}: uneven slices: up to {along.max():.2f} mm off even positions")
    if aside.max() > OFF_MM:
        where = heights[int(aside.argmax())]
        raise InputError(f"{folder}: slices are shifted by up to {aside.max():.2f} mm in plane, at {where:.2f} mm")
    worst = max(along.max(), aside.max())
    if worst > NOTED_MM:
        warnings.warn(f"{folder}: slices are up to {worst:.2f} mm off even positions", ReaderWarning, stacklevel=3)
    tilt = math.degrees(math.atan2(float(np.linalg.norm(step - (step @ normal) * normal)), float(step @ normal)))
    if tilt > MAX_TILT_DEGREES:
        raise InputError(f"{folder}: slices are shifted in plane as by a gantry tilt of {tilt:.1f}°, which none has")
    if tilt > TILT_DEGREES:
        text = f"{folder}: a gantry tilt of {tilt:.1f}°; the affine keeps it as a shear"
        warnings.warn(text, ReaderWarning, stacklevel=3)
    return np.asarray(step)
