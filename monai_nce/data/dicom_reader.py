"""A CT volume from a folder of DICOM files, one series of single-frame slices.

Nothing is guessed: slices are ordered by position, the spacing across slices comes from the positions and never from
SliceThickness, and every slice must say itself how its values become Hounsfield units. What would give wrong geometry
or wrong HU is refused with the reason.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monai_nce.data.dicom_geometry import DicomSeries, DicomSlice, assemble_series
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_dicom", "holds_dicom", "read_dicom"]

INSTALL = "pip install monai-nce[dicom]"
REQUIRED = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "Rows",
    "Columns",
)
READ = (
    *REQUIRED,
    *("FrameOfReferenceUID", "ImageType", "Modality", "NumberOfFrames", "PatientID", "RescaleType", "SamplesPerPixel"),
    *("SeriesInstanceUID", "SeriesNumber", "SharedFunctionalGroupsSequence", "SliceThickness", "StudyInstanceUID"),
    "SyntheticData",
)


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
    return assemble_series(folder, [_parse(*image) for image in _one_series(folder, _read_headers(folder))])


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
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    if not start[:128].strip(b"\0"):  # at most a preamble: a slice that never arrived must not go unnoticed
        raise InputError(f"{path}: empty or truncated file")
    return False


def _read_headers(folder: Path) -> list[tuple[Path, Dataset]]:
    """The CT and other images in the folder, localizers left out."""
    try:
        from pydicom import dcmread
        from pydicom.uid import UID, CTImageStorage
    except ImportError as error:
        raise InputError(f"{folder}: reading DICOM needs pydicom: {INSTALL}") from error
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    images: list[tuple[Path, Dataset]] = []
    others = 0
    for path in files:
        if not _is_dicom(path):
            others += 1
            continue
        try:
            header = dcmread(path, stop_before_pixels=True, specific_tags=list(READ))
            list(header)  # pydicom converts values when they are asked for
        except Exception as error:  # of many kinds
            raise InputError(f"{path}: not a readable DICOM file") from error
        if "Rows" not in header:
            kind = UID(header.file_meta.get("MediaStorageSOPClassUID", ""))
            if kind == CTImageStorage or kind.type != "SOP Class":
                raise InputError(f"{path}: a CT image without Rows, or a truncated file")
            others += 1  # known to be none: a report, a presentation state, a DICOMDIR
        elif "LOCALIZER" not in (header.get("ImageType") or ()):
            images.append((path, header))
    if others:
        warnings.warn(f"{folder}: {others} of {len(files)} files are no DICOM images; left out", stacklevel=2)
    return images


def _one_series(folder: Path, images: Sequence[tuple[Path, Dataset]]) -> list[tuple[Path, Dataset]]:
    groups: dict[tuple[str, ...], list[tuple[Path, Dataset]]] = defaultdict(list)
    for path, header in images:
        keys = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        groups[tuple(str(header.get(key)) for key in keys)].append((path, header))
    ct = [group for group in groups.values() if any(header.get("Modality") == "CT" for _, header in group)]
    if not ct:
        modalities = sorted({str(header.get("Modality")) for _, header in images})
        raise InputError(f"{folder}: expected a CT series but found {', '.join(modalities) or 'no DICOM images'}")
    if len(ct) > 1:
        found = ", ".join(f"number {group[0][1].get('SeriesNumber')} ({len(group)} slices)" for group in ct)
        raise InputError(f"{folder}: expected one CT series but found {len(ct)}: {found}; give each its own folder")
    return ct[0]


def _parse(path: Path, header: Dataset) -> DicomSlice:
    """Check what one slice must say by itself."""
    if header.get("Modality") != "CT":
        raise InputError(f"{path}: expected Modality CT but got {header.get('Modality')}")
    if header.get("SyntheticData") == "YES":
        raise InputError(f"{path}: the image is synthetic already (SyntheticData is YES)")
    if int(header.get("NumberOfFrames") or 1) != 1 or "SharedFunctionalGroupsSequence" in header:
        raise InputError(f"{path}: multi-frame (enhanced) CT is not supported; export it as single slices")
    for keyword in REQUIRED:
        if header.get(keyword) is None:
            raise InputError(f"{path}: has no {keyword}")
    if header.get("RescaleType") not in (None, "", "HU", "US"):  # US: unspecified
        raise InputError(f"{path}: expected values in HU but RescaleType is {header.RescaleType}")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{path}: expected grey values but got a colour image")
    try:
        position = np.array(header.ImagePositionPatient, dtype=float).reshape(3)
        axes = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
        spacing = np.array(header.PixelSpacing, dtype=float).reshape(2)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its position, orientation or pixel spacing is malformed") from error
    if not np.isfinite(position).all() or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InputError(f"{path}: expected a finite position and a positive PixelSpacing")
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise InputError(f"{path}: its ImageOrientationPatient is not a pair of perpendicular unit vectors")
    return DicomSlice(path, header, position, axes, spacing)


def _read_slice(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """One slice in HU, indexed by column and row."""
    from pydicom import dcmread
    from pydicom.pixels import get_decoder

    try:
        dataset = dcmread(path)
        syntax = dataset.file_meta.TransferSyntaxUID
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
