"""The one guarded way from a file or folder to a CT volume in Hounsfield units.

What all formats share: values are finite, can be HU, and anything below air (padding such as -3024) becomes -1024.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys, SpaceKeys, ensure_tuple

from monai_nce.data.dicom_reader import check_dicom, holds_dicom, read_dicom
from monai_nce.data.nifti_reader import check_nifti, is_nifti_name, read_nifti
from monai_nce.errors import InputError

__all__ = ["AIR_HU", "CTReader", "check_volume", "find_volumes", "read_ct"]

AIR_HU = -1024.0
MAX_HU = 32767.0


def read_ct(path: str | PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read a CT volume.

    Args:
        path: a NIfTI file or a folder with one DICOM series.

    Returns:
        The volume in HU, float32 of shape (H, W, D), nothing below -1024; and the 4×4 affine from voxel indices to
        RAS millimetres, float64.

    Raises:
        InputError: if the volume cannot be read without guessing, or its values cannot be HU: NaN or infinities, one
            value everywhere, nothing below 0 (no air and no fat: raw scanner values, 8-bit pictures, labels) or
            something above 32767 (a sign lost on the way).
    """
    path = Path(path)
    volume, affine = read_dicom(path) if path.is_dir() else read_nifti(path)
    low, high = float(volume.min()), float(volume.max())  # NaN if any value is
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: holds NaN or infinite values")
    if low == high:
        raise InputError(f"{path}: every voxel is {low:g}: not an image")
    if low >= 0 or high > MAX_HU:
        raise InputError(f"{path}: values from {low:g} to {high:g} cannot be Hounsfield units")
    return np.maximum(volume, np.float32(AIR_HU), out=volume), affine


def check_volume(path: str | PathLike[str]) -> None:
    """Check by its headers that a volume can be read, before any work starts.

    Args:
        path: a NIfTI file or a folder with one DICOM series.

    Raises:
        InputError: if a header shows that :func:`read_ct` would refuse it.
    """
    path = Path(path)
    if path.is_dir():
        check_dicom(path)
    else:
        check_nifti(path)


def find_volumes(path: str | PathLike[str]) -> list[Path]:
    """List the volumes that ``path`` stands for.

    Args:
        path: a NIfTI file, a folder of DICOM files, or a folder that holds, at any depth, either NIfTI files or
            folders of DICOM files.

    Returns:
        NIfTI files or DICOM folders, sorted; at least one.

    Raises:
        InputError: if nothing is there, or NIfTI and DICOM are mixed so that it is not clear which is meant.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if not path.is_dir():
        if not is_nifti_name(path):
            raise InputError(f"{path}: expected a NIfTI file (.nii, .nii.gz) or a folder of DICOM files")
        return [path]
    nifti: list[Path] = []
    dicom: list[Path] = []
    for name, folders, files in os.walk(path):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        folder = Path(name)
        nifti += [folder / file for file in files if is_nifti_name(Path(file)) and not file.startswith(".")]
        if holds_dicom(folder):
            dicom.append(folder)
    if nifti and dicom:
        raise InputError(f"{path}: holds NIfTI files and DICOM folders; name those that are meant")
    if not (nifti or dicom):
        raise InputError(f"{path}: holds neither NIfTI nor DICOM files")
    return sorted(nifti or dicom)


class CTReader(ImageReader):
    """Reader for MONAI's ``LoadImage`` that never guesses: ``LoadImaged(keys="image", reader=CTReader())``.

    ``LoadImage`` swallows what a reader's ``read`` raises and tries its other readers on the refused file. So ``read``
    only takes the path down, and the work is done in ``get_data``, whose :class:`~monai_nce.errors.InputError` comes
    through: as itself from ``LoadImage``, as the ``__cause__`` of the ``RuntimeError`` from ``Compose`` or a dataset.

    The metadata holds geometry alone, none of the headers' patient data.
    """

    def verify_suffix(self, filename: Sequence[str | PathLike[str]] | str | PathLike[str]) -> bool:
        """Whether the names are those of NIfTI files or folders."""
        return all(is_nifti_name(Path(name)) or Path(name).is_dir() for name in ensure_tuple(filename))

    def read(self, data: Sequence[str | PathLike[str]] | str | PathLike[str], **kwargs: Any) -> tuple[Path, ...]:
        """Take down the path; ``kwargs`` are ignored. See the class for why nothing is read here."""
        return tuple(Path(name) for name in ensure_tuple(data))

    def get_data(self, img: tuple[Path, ...]) -> tuple[np.ndarray, dict[str, Any]]:
        """Read the volume.

        Args:
            img: what :meth:`read` returned.

        Returns:
            The volume in HU, float32 of shape (H, W, D), and MONAI's metadata for it.

        Raises:
            InputError: as :func:`read_ct`, and for more than one path.
        """
        if len(img) != 1:
            raise InputError(f"expected one volume but got {len(img)} paths")
        volume, affine = read_ct(img[0])
        meta = {
            MetaKeys.AFFINE: affine,
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
            MetaKeys.SPATIAL_SHAPE: np.array(volume.shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: float("nan"),  # MONAI's sign for none
            MetaKeys.SPACE: SpaceKeys.RAS,
        }
        return volume, meta
