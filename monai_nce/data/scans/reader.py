"""The one guarded way from a file or folder to a CT volume in Hounsfield units.

What all formats share: values are finite, can be HU, and anything below air (padding such as -3024) becomes -1024.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from monai_nce.data.dicom.files import is_dicom
from monai_nce.data.dicom.reader import DicomSource, check_dicom, one_series, read_dicom
from monai_nce.data.nifti.reader import check_nifti, is_nifti_name, read_nifti
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.recent import listed_volume, take_volume
from monai_nce.errors import InputError

__all__ = ["AIR_HU", "CTReader", "check_volume", "find_volumes", "one_volume", "read_ct"]

AIR_HU = -1024.0
MAX_HU = 32767.0


def read_ct(source: DicomSource) -> tuple[np.ndarray, np.ndarray]:
    """Read a CT volume.

    Args:
        source: a NIfTI file; a folder with one CT series in DICOM, at any depth; the files of a series; or one of
            :func:`~monai_nce.data.scans.found.find_images`.

    Returns:
        The volume in HU, float32 of shape (H, W, D), nothing below -1024; and the 4×4 affine from voxel indices to
        RAS millimetres, float64.

    Raises:
        InputError: if the volume cannot be read without guessing, or its values cannot be HU: NaN or infinities, one
            value everywhere, nothing below 0 (no air and no fat: raw scanner values, 8-bit pictures, labels) or
            something above 32767 (a sign lost on the way).
    """
    nifti = _nifti_path(source)
    volume, affine = read_nifti(nifti) if nifti else read_dicom(source)
    name = nifti or _name(source)
    low, high = float(volume.min()), float(volume.max())  # NaN if any value is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{name}: holds NaN or infinite values")
    if low == high:
        raise InputError(f"{name}: every voxel is {low:g}: not an image")
    if low >= 0 or high > MAX_HU:
        raise InputError(f"{name}: values from {low:g} to {high:g} cannot be Hounsfield units")
    return np.maximum(volume, np.float32(AIR_HU), out=volume), affine


def check_volume(source: DicomSource) -> tuple[tuple[int, ...], np.ndarray]:
    """Check by its headers that a volume can be read, before any work starts.

    Args:
        source: as for :func:`read_ct`.

    Returns:
        Its shape, three numbers, and the 4×4 affine.

    Raises:
        InputError: if a header shows that :func:`read_ct` would refuse it.
    """
    nifti = _nifti_path(source)
    if nifti:
        image = check_nifti(nifti)
        return image.shape[:3], np.array(image.affine, dtype=np.float64)
    series = check_dicom(source)
    return series.shape, series.affine


def find_volumes(path: str | PathLike[str]) -> list[FoundVolume]:
    """List the CT volumes that ``path`` stands for, as input of a program.

    Args:
        path: a NIfTI file, DICOM files, or a folder that holds either, at any depth.

    Returns:
        What :func:`~monai_nce.data.scans.found.find_images` lists, less the DICOM series of other modalities, which are
        left out with a warning; at least one.

    Raises:
        InputError: if nothing is there, or NIfTI and DICOM are mixed so that it is not clear which is meant.
    """
    found = find_images(path)
    if {volume.kind for volume in found} == {"nifti", "dicom"}:
        raise InputError(f"{path}: holds NIfTI files and DICOM series; name those that are meant")
    ct = [volume for volume in found if volume.kind == "nifti" or volume.modality == "CT" or volume.damaged]
    if not ct:
        kinds = ", ".join(sorted({volume.modality or "None" for volume in found}))
        raise InputError(f"{path}: expected CT but " + (f"found {kinds}" if found else "holds neither NIfTI nor DICOM"))
    if len(ct) < len(found):
        text = f"{path}: {len(found) - len(ct)} of {len(found)} DICOM series are not CT; left out"
        warnings.warn(text, ReaderWarning, stacklevel=2)
    return ct


def one_volume(source: DicomSource) -> FoundVolume:
    """The volume that is meant, with its tags.

    Args:
        source: as for :func:`read_ct`.

    Returns:
        It, not checked.

    Raises:
        InputError: if it is not clear which one is meant.
    """
    nifti = _nifti_path(source)
    return FoundVolume("nifti", nifti, (nifti,)) if nifti else one_series(source)


def _nifti_path(source: DicomSource) -> Path | None:
    """The NIfTI file that ``source`` is, or None if it is DICOM."""
    if isinstance(source, FoundVolume):
        return source.path if source.kind == "nifti" else None
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        return path if is_nifti_name(path) and not path.is_dir() else None
    if any(is_nifti_name(Path(path)) for path in source):
        if len(source) > 1:
            raise InputError(f"expected one volume but got {len(source)} paths")
        return Path(source[0])
    return None


def _name(source: DicomSource) -> Path:
    if isinstance(source, FoundVolume):
        return source.path
    return Path(source) if isinstance(source, (str, PathLike)) else Path(source[0]).parent


class CTReader(ImageReader):
    """Reader for MONAI's ``LoadImage`` that never guesses: ``LoadImaged(keys="image", reader=CTReader())``.

    ``LoadImage`` swallows what a reader's ``read`` raises and tries its other readers on the refused file. So ``read``
    only takes the path down, and the work is done in ``get_data``, whose :class:`~monai_nce.errors.InputError` comes
    through: as itself from ``LoadImage``, as the ``__cause__`` of the ``RuntimeError`` from ``Compose`` or a dataset.

    The metadata holds geometry alone, none of the headers' patient data. What an inference has listed and read already
    is not read again; see :mod:`monai_nce.data.scans.recent`.
    """

    def verify_suffix(self, filename: Sequence[str | PathLike[str]] | str | PathLike[str]) -> bool:
        """Whether the names are those of NIfTI files, folders, or files that are DICOM by their content."""
        names = [Path(name) for name in ensure_tuple(filename)]
        return all(is_nifti_name(name) or name.is_dir() or (name.is_file() and is_dicom(name)) for name in names)

    def read(self, data: Sequence[str | PathLike[str]] | str | PathLike[str], **kwargs: Any) -> tuple[Path, ...]:
        """Take down the paths; ``kwargs`` are ignored. See the class for why nothing is read here."""
        return tuple(Path(name) for name in ensure_tuple(data))

    def get_data(self, img: tuple[Path, ...]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the volume.

        Args:
            img: what :meth:`read` returned.

        Returns:
            The volume in HU, float32 of shape (H, W, D), and MONAI's metadata for it.

        Raises:
            InputError: as :func:`read_ct`.
        """
        image = img[0] if len(img) == 1 else img
        volume, affine = take_volume(image) or read_ct(listed_volume(image) or image)
        meta = {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.array(volume.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's sign for none
            MetaKeys.SPACE: SpaceKeys.RAS,
        }
        return volume, meta
