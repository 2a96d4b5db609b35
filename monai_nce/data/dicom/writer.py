"""Write a synthetic CT volume as a derived DICOM series: CT Image Storage, one file per acquired slice."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from monai_nce.data.dicom.copy import keep_bytes
from monai_nce.data.dicom.files import open_dicom, quiet_pydicom
from monai_nce.data.dicom.header import Derivation, derived_header, new_series
from monai_nce.data.files.atomic import atomic_folder
from monai_nce.data.nifti.writer import as_int16_hu
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_series_folder", "series_files", "write_derived_series"]

OWN_NAME = re.compile(r"synthetic_\d{4,}\.dcm")


def series_files(folder: Path) -> list[Path]:
    """List the files of a derived series in a folder, sorted; none where there is no such folder."""
    return sorted(path for path in folder.glob("synthetic_*.dcm") if OWN_NAME.fullmatch(path.name))


def check_series_folder(folder: str | PathLike[str]) -> None:
    """Refuse to replace a folder that holds anything but an earlier derived series.

    Raises:
        InputError: if it is a file, a link, or a folder with other files in it.
    """
    folder = Path(folder)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: expected a folder for the DICOM series but it is a file or a link")
    foreign = [path.name for path in folder.iterdir() if not OWN_NAME.fullmatch(path.name)] if folder.exists() else []
    if foreign:
        raise InputError(f"{folder}: would be replaced by the DICOM series but holds other files: {min(foreign)}")


def write_derived_series(
    folder: str | PathLike[str], volume: ArrayLike, sources: Sequence[Path], derivation: Derivation
) -> None:
    """Write a synthetic volume as a DICOM series that refers to the acquired one, complete or not at all.

    Each slice keeps the geometry of its acquired slice, gantry tilt included, and the patient's and study's elements.
    Series, instances, dates and descriptions are its own, and say that it is synthetic. Files are called
    ``synthetic_0001.dcm`` and so on, in the order of ``sources``.

    Args:
        folder: to make, or to replace as a whole if it holds an earlier series.
        volume: array, tensor or MetaTensor of shape (columns, rows, slices) in HU; rounded and clipped to int16.
        sources: the files of the acquired slices, one per slice, in the order of the volume.
        derivation: how the volume was made.

    Raises:
        InputError: if the folder holds something else, or an acquired file cannot be read any more.
        ValueError: if volume and files do not fit, or the volume holds NaN or infinities.
        OSError: if the disk is full or not writable; a series that was there before still is.
    """
    check_series_folder(folder)
    hu = as_int16_hu(volume)
    if hu.shape[2] != len(sources):
        raise ValueError(f"expected one file per slice but got {len(sources)} files for {hu.shape[2]} slices")
    # pydicom's warnings would quote the source's values
    with quiet_pydicom(sources[0]):
        headers = [_read(path) for path in sources]
        numbers = _instance_numbers(headers)
        series = new_series(headers[0])
        with atomic_folder(folder) as temporary:
            for index, (path, source) in enumerate(zip(sources, headers, strict=True)):
                if hu.shape[:2] != (source.get("Columns"), source.get("Rows")):
                    raise ValueError(f"{path}: expected {hu.shape[0]} columns and {hu.shape[1]} rows")
                header = derived_header(source, series, derivation, numbers[index])
                _write(temporary / f"synthetic_{index + 1:04d}.dcm", header, hu[:, :, index])
    if series.study_is_new:
        warnings.warn(
            f"{folder}: the acquired series has no StudyInstanceUID; the derived one is in a study of its own",
            stacklevel=2,
        )


def _read(path: Path) -> Dataset:
    try:
        return open_dicom(path, stop_before_pixels=True)
    except Exception as error:  # of many kinds
        raise InputError(f"{path}: cannot be read any more") from error


def _instance_numbers(headers: Sequence[Dataset]) -> list[int]:
    """Return the acquired slices' own numbers, so that viewers page the same way; 1, 2, … where they cannot be."""
    try:
        numbers = [int(header.InstanceNumber) for header in headers]
    except (AttributeError, TypeError, ValueError, OverflowError):
        numbers = []
    if len(set(numbers)) < len(headers) or min(numbers) < 0:
        return list(range(1, len(headers) + 1))
    return numbers


def _write(path: Path, header: Dataset, pixels: np.ndarray) -> None:
    """Args: pixels: int16, indexed by column and row."""
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    header.Columns, header.Rows = pixels.shape
    header.PixelData = np.ascontiguousarray(pixels.T).astype("<i2").tobytes()
    header["PixelData"].VR = "OW"
    header.file_meta = FileMetaDataset()
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    keep_bytes(header)
    dcmwrite(path, header, enforce_file_format=True)
