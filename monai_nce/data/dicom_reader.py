"""A CT volume from a folder of DICOM files, one series of single-frame slices.

Nothing is guessed: slices are ordered by position, the spacing across slices comes from the positions and never from
SliceThickness, and every slice must say itself how its values become Hounsfield units. What would give wrong geometry
or wrong HU is refused with the reason.
"""

from __future__ import annotations

import filecmp
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DicomSeries", "check_dicom", "holds_dicom", "read_dicom"]

INSTALL = "pip install monai-nce[dicom]"
STEP_TOLERANCE_MM = 0.1  # positions are often rounded to 0.01 mm
SAME_POSITION_MM = 0.01
# Sideways shift of slices that is let pass: rounded positions, and rounded direction cosines (0.06°). A gantry tilt
# of 1° is beyond it from a height of 1.3 mm on.
SHIFT_TOLERANCE_MM = 0.02
SHIFT_TOLERANCE_RAD = 1e-3
COSINE_TOLERANCE = 1e-4
MAX_VOXELS = 2**30
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
REQUIRED = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "Rows",
    "Columns",
)
CONSTANT = ("Rows", "Columns", "FrameOfReferenceUID")
READ = (
    *REQUIRED,
    *("FrameOfReferenceUID", "ImageType", "Modality", "NumberOfFrames", "PatientID", "RescaleType", "SamplesPerPixel"),
    *("SeriesInstanceUID", "SeriesNumber", "SliceThickness", "StudyInstanceUID", "SyntheticData"),
)


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
class _Slice:
    path: Path
    header: Dataset


def holds_dicom(folder: Path) -> bool:
    """Whether a DICOM file lies directly in ``folder``."""
    return any(_is_dicom(path) for path in sorted(folder.iterdir()))


def check_dicom(folder: Path) -> DicomSeries:
    """Check the headers of the one CT series in ``folder``.

    Localizers and files that are not DICOM images are left out; byte-identical copies of a slice are dropped with a
    warning.

    Args:
        folder: its files are read, its sub-folders are not.

    Returns:
        The ordered files and their geometry; no voxels are read.

    Raises:
        InputError: if there is no CT series or more than one, or if its slices do not make up one volume of HU.
    """
    slices = _one_series(folder, _read_headers(folder))
    for item in slices:
        _check_slice(item)
    _check_constant(folder, slices)
    return _geometry(folder, slices)


def read_dicom(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the one CT series in ``folder``.

    Args:
        folder: its files are read, its sub-folders are not.

    Returns:
        The volume in HU, float32 of shape (columns, rows, slices), and the 4×4 affine from voxel indices to RAS
        millimetres, float64.

    Raises:
        InputError: as :func:`check_dicom`, and if the voxels of a slice cannot be decoded.
    """
    series = check_dicom(folder)
    volume = np.empty(series.shape, dtype=np.float32, order="F")
    for index, path in enumerate(series.files):
        volume[:, :, index] = _read_slice(path, series.shape[:2])
    return volume, series.affine


def _is_dicom(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _read_headers(folder: Path) -> list[_Slice]:
    """The CT and other images in the folder, localizers left out."""
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise InputError(f"{folder}: reading DICOM needs pydicom: {INSTALL}") from error
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images: list[_Slice] = []
    others = 0
    for path in files:
        if not _is_dicom(path):
            others += 1
            continue
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(READ))
        except (InvalidDicomError, OSError, EOFError, ValueError, KeyError) as error:
            raise InputError(f"{path}: not a readable DICOM file") from error
        if "Rows" not in header:  # a report, a presentation state, a DICOMDIR
            others += 1
        elif "LOCALIZER" not in (header.get("ImageType") or ()):
            images.append(_Slice(path, header))
    if others:
        warnings.warn(f"{folder}: {others} of {len(files)} files are no DICOM images; left out", stacklevel=2)
    return images


def _one_series(folder: Path, images: Sequence[_Slice]) -> list[_Slice]:
    groups: dict[tuple[str, ...], list[_Slice]] = defaultdict(list)
    for item in images:
        keys = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        groups[tuple(str(item.header.get(key)) for key in keys)].append(item)
    ct = [group for group in groups.values() if any(item.header.get("Modality") == "CT" for item in group)]
    if not ct:
        modalities = sorted({str(item.header.get("Modality")) for item in images})
        raise InputError(f"{folder}: expected a CT series but found {', '.join(modalities) or 'no DICOM images'}")
    if len(ct) > 1:
        found = ", ".join(f"number {group[0].header.get('SeriesNumber')} ({len(group)} slices)" for group in ct)
        raise InputError(f"{folder}: expected one CT series but found {len(ct)}: {found}; give each its own folder")
    return ct[0]


def _check_slice(item: _Slice) -> None:
    path, header = item.path, item.header
    if header.get("Modality") != "CT":
        raise InputError(f"{path}: expected Modality CT but got {header.get('Modality')}")
    if header.get("SyntheticData") == "YES":
        raise InputError(f"{path}: the image is synthetic already (SyntheticData is YES)")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise InputError(f"{path}: multi-frame (enhanced) CT is not supported; export it as single slices")
    for keyword in REQUIRED:
        if header.get(keyword) is None:
            raise InputError(f"{path}: has no {keyword}")
    if header.get("RescaleType") not in (None, "", "HU", "US"):  # US: unspecified
        raise InputError(f"{path}: expected values in HU but RescaleType is {header.RescaleType}")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{path}: expected grey values but got a colour image")
    row, column = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    gram = np.array([row @ row - 1, column @ column - 1, row @ column])
    if not np.all(np.abs(gram) < 1e-3):
        raise InputError(f"{path}: its ImageOrientationPatient is not a pair of perpendicular unit vectors")
    if not min(header.PixelSpacing) > 0:
        raise InputError(f"{path}: expected a positive PixelSpacing")


def _check_constant(folder: Path, slices: Sequence[_Slice]) -> None:
    first = slices[0].header
    for item in slices:
        for keyword in CONSTANT:
            if item.header.get(keyword) != first.get(keyword):
                raise InputError(f"{folder}: slices differ in {keyword}, first in {item.path.name}")
        for keyword in ("ImageOrientationPatient", "PixelSpacing"):
            if not np.allclose(item.header[keyword].value, first[keyword].value, rtol=0, atol=COSINE_TOLERANCE):
                raise InputError(f"{folder}: slices differ in {keyword}, first in {item.path.name}")


def _geometry(folder: Path, slices: Sequence[_Slice]) -> DicomSeries:
    header = slices[0].header
    row, column = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    normal = np.cross(row, column)
    heights = {item.path: float(normal @ np.array(item.header.ImagePositionPatient, dtype=float)) for item in slices}
    slices = _without_copies(folder, sorted(slices, key=lambda item: heights[item.path]), heights)
    z = np.array([heights[item.path] for item in slices])

    positions = np.array([item.header.ImagePositionPatient for item in slices], dtype=float)
    offsets = positions - positions[0]
    shift = np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1).max()
    height = float(z[-1] - z[0])
    if shift > SHIFT_TOLERANCE_MM + SHIFT_TOLERANCE_RAD * height:
        tilt = np.degrees(np.arctan2(shift, height))
        raise InputError(f"{folder}: slices are shifted by up to {shift:.2f} mm in plane, a gantry tilt of {tilt:.1f}°")

    if len(slices) == 1:
        step = float(header.get("SliceThickness") or 0)
        if step <= 0:
            raise InputError(f"{folder}: a single slice without SliceThickness has no spacing")
    else:
        step = height / (len(slices) - 1)
        usual = float(np.median(np.diff(z)))
        for low, high in zip(z[:-1], z[1:], strict=True):
            if abs(high - low - usual) > STEP_TOLERANCE_MM:
                raise InputError(
                    f"{folder}: uneven slices: {high - low:.2f} mm between the positions {low:.2f} and {high:.2f},"
                    f" elsewhere {usual:.2f} mm"
                )
        if np.abs(z - np.linspace(z[0], z[-1], len(z))).max() > STEP_TOLERANCE_MM:
            raise InputError(f"{folder}: uneven slices: the distances drift from {z[1] - z[0]:.2f} mm")

    affine = np.eye(4)
    affine[:3, 0] = row * float(header.PixelSpacing[1])  # from one column to the next
    affine[:3, 1] = column * float(header.PixelSpacing[0])
    affine[:3, 2] = normal * step
    affine[:3, 3] = positions[0]
    shape = (int(header.Columns), int(header.Rows), len(slices))
    if np.prod(shape, dtype=float) > MAX_VOXELS:
        raise InputError(f"{folder}: {shape} voxels are more than this program takes ({MAX_VOXELS})")
    return DicomSeries(tuple(item.path for item in slices), shape, LPS_TO_RAS @ affine)


def _without_copies(folder: Path, slices: Sequence[_Slice], heights: dict[Path, float]) -> list[_Slice]:
    kept = [slices[0]]
    for item in slices[1:]:
        if heights[item.path] - heights[kept[-1].path] > SAME_POSITION_MM:
            kept.append(item)
        elif not filecmp.cmp(item.path, kept[-1].path, shallow=False):
            raise InputError(
                f"{folder}: two different slices at position {heights[item.path]:.2f} mm:"
                f" {kept[-1].path.name} and {item.path.name}"
            )
    if len(kept) < len(slices):
        warnings.warn(f"{folder}: {len(slices) - len(kept)} identical copies of slices; left out", stacklevel=2)
    return kept


def _read_slice(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """One slice in HU, indexed by column and row."""
    from pydicom import dcmread
    from pydicom.pixels import get_decoder

    dataset = dcmread(path)
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        if syntax.is_compressed and not get_decoder(syntax).is_available:
            raise InputError(f"{path}: no decoder for {syntax.name} is installed: {INSTALL}")
        pixels = dataset.pixel_array
    except InputError:
        raise
    except Exception as error:  # each decoder fails with exceptions of its own
        raise InputError(f"{path}: its voxels cannot be decoded, the file may be truncated") from error
    if pixels.shape != shape[::-1]:
        raise InputError(f"{path}: expected {shape[::-1]} voxels but got {pixels.shape}")
    # as float before the sum: unsigned voxels plus a negative intercept would wrap
    return pixels.T.astype(np.float32) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
