"""Read a CT volume from the DICOM files of one series.

Nothing is guessed: slices are ordered by position, the spacing across slices comes from the positions and never from
SliceThickness, and every slice must say itself how its values become Hounsfield units. What would give wrong geometry
or wrong HU is refused with the reason.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from monai_nce.data.dicom.decoders import decoder_of
from monai_nce.data.dicom.files import open_dicom, quiet_pydicom, scan_file
from monai_nce.data.dicom.geometry import DicomSeries, DicomSlice, assemble_series
from monai_nce.data.dicom.lossy import lossy_compression
from monai_nce.data.dicom.pixels import NoPixels, check_overlays, slice_hu
from monai_nce.data.dicom.slices import check_one_patient, slices_of
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.foreign import advice
from monai_nce.data.scans.found import FoundVolume, find_images, group_dicom
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_dicom", "one_series", "read_dicom"]

DicomSource = FoundVolume | str | PathLike[str] | Sequence[str | PathLike[str]]


def one_series(source: DicomSource) -> FoundVolume:
    """Find the one CT series that is meant; series of other modalities beside it are passed over.

    Args:
        source: a folder, which is walked whole, a DICOM file, the files of a series, or one that was found.

    Raises:
        InputError: if there is no CT series or more than one.
    """
    if isinstance(source, FoundVolume):
        return source
    if isinstance(source, (str, PathLike)):
        name, found = Path(source), [volume for volume in find_images(source) if volume.kind == "dicom"]
    else:
        files = [Path(path) for path in source]
        name, found = _common(files), group_dicom(files)
    # damaged files that belong to no series may have been one
    ct = [volume for volume in found if volume.modality == "CT" or volume.damaged]
    if not ct:
        modalities = sorted({volume.modality or "None" for volume in found})
        raise InputError(
            f"{name}: expected a CT series but found {', '.join(modalities) or 'no DICOM images'}{advice(name)}"
        )
    if len(ct) > 1:
        listed = ", ".join(f"number {volume.series_number} ({len(volume.files)} slices)" for volume in ct[:8])
        raise InputError(f"{name}: expected one CT series but found {len(ct)}: {listed}; name the files of one")
    return ct[0]


def check_dicom(source: DicomSource) -> DicomSeries:
    """Check the headers of one CT series.

    Args:
        source: as for :func:`one_series`.

    Returns:
        The ordered files and their geometry; no voxels are read. Localizers and files that are not DICOM images are
        left out; byte-identical copies of a slice are dropped with a warning.

    Raises:
        InputError: if there is no CT series or more than one, if one of its files is damaged, or if its slices do not
            make up one volume of HU.
    """
    volume = one_series(source)
    headers: list[tuple[Path, Dataset]] = []
    for path in volume.files:
        scanned = scan_file(path)
        if scanned is None:
            raise InputError(f"{path}: empty, truncated or no DICOM file{advice(path)}")
        if scanned.header is None or scanned.kind == "broken":
            raise InputError(f"{path}: {scanned.problem}")
        headers.append((path, scanned.header))
    check_one_patient(volume.path, headers)
    _warn_of_loss(volume.path, [header for _, header in headers])
    return assemble_series(volume.path, [item for path, header in headers for item in slices_of(path, header)])


def read_dicom(source: DicomSource) -> tuple[np.ndarray, np.ndarray]:
    """Read one CT series.

    Args:
        source: as for :func:`one_series`.

    Returns:
        The volume in HU, float32 of shape (columns, rows, slices), and the 4×4 affine from voxel indices to RAS
        millimetres, float64.

    Raises:
        InputError: as :func:`check_dicom`, and if the voxels of a slice cannot be decoded.
    """
    found = one_series(source)
    series = check_dicom(found)
    places: dict[Path, list[tuple[int, DicomSlice]]] = defaultdict(list)
    for index, item in enumerate(series.slices):
        places[item.path].append((index, item))
    volume = np.empty(series.shape, dtype=np.float32, order="F")
    seen = NoPixels()
    for path, members in places.items():
        _decode(path, members, volume, seen)
    seen.warn(found.path)
    return volume, series.affine


def _warn_of_loss(folder: Path, headers: Sequence[Dataset]) -> None:
    lossy = Counter(filter(None, map(lossy_compression, headers)))
    if not lossy:
        return
    was = "were compressed with loss" if lossy["yes"] else "may have been compressed with loss"
    text = f"{folder}: {lossy.total()} of {len(headers)} files {was}: their HU are not those of the scanner"
    warnings.warn(text, ReaderWarning, stacklevel=3)


def _decode(path: Path, members: Sequence[tuple[int, DicomSlice]], volume: np.ndarray, seen: NoPixels) -> None:
    """Decode a file's frames into the slices of ``volume`` that ``members`` name."""
    where = {item.frame or 0: (index, item) for index, item in members}
    shape, count = volume.shape[1::-1], 0
    with quiet_pydicom(path):
        from pydicom.pixels import iter_pixels

        try:
            dataset = open_dicom(path)
            syntax = dataset.file_meta.TransferSyntaxUID
            plugin = decoder_of(path, syntax)
            if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
                raise InputError(f"{path}: has no pixel data, or is truncated")
            check_overlays(path, dataset)
            frames = iter_pixels(dataset, decoding_plugin=plugin, correct_unused_bits=False)
            for count, pixels in enumerate(frames, start=1):
                if pixels.shape != shape:
                    raise InputError(f"{path}: expected {shape} voxels but got {pixels.shape}")
                index, item = where[count - 1]
                volume[:, :, index] = slice_hu(path, dataset, pixels, item.slope, item.intercept, seen).T
        except InputError:
            raise
        except Exception as error:  # each decoder fails with exceptions of its own
            raise InputError(f"{path}: its voxels cannot be decoded, the file may be truncated") from error
    if count != len(where):
        raise InputError(f"{path}: expected {len(where)} frames but got {count}")


def _common(files: Sequence[Path]) -> Path:
    if not files:
        raise InputError("expected the files of a series but got none")
    return Path(os.path.commonpath([path.parent for path in files])) if len(files) > 1 else files[0]
