"""Write NIfTI files atomically: complete, or the old one is still there.

CT volumes are written as int16 Hounsfield units (HU), rounded and clipped: a plain cast would wrap 40000 to -25536 and
turn NaN into 0 without a word.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from isal import igzip_threaded
from nibabel.nifti1 import Nifti1Extension
from numpy.typing import ArrayLike

from monai_nce.data.files.atomic import atomic_path
from monai_nce.data.scans.affine import mm_apart

__all__ = ["MAX_DESCRIPTION", "as_int16_hu", "nifti_image", "write_nifti_hu", "write_nifti_labels"]

MAX_DESCRIPTION = 79  # bytes in a NIfTI header's descrip field, less its closing zero
PACKING = 3  # level of ISA-L, its last: in two thirds of the default's time, for files 1.5 % larger
PACKERS = 2  # threads; the file is the same with any number
QFORM_TOLERANCE_MM = 0.01  # a quaternion that misplaces a corner of the volume by more is not written as valid


def as_int16_hu(volume: ArrayLike) -> np.ndarray:
    """Round HU of shape (H, W, D) to whole numbers and clip them to [-32768, 32767].

    Raises:
        ValueError: if the volume is not (H, W, D) or holds NaN or infinities.
    """
    hu = _as_volume(volume)
    if not np.isfinite(hu).all():
        raise ValueError(f"volume: expected finite HU but got {np.count_nonzero(~np.isfinite(hu))} NaN or infinite")
    limits = np.iinfo(np.int16)
    rounded = np.rint(hu)
    return np.clip(rounded, limits.min, limits.max, out=rounded).astype(np.int16)


def write_nifti_hu(
    path: str | PathLike[str], volume: ArrayLike, affine: ArrayLike, description: str = "", comment: str = ""
) -> None:
    """Write a CT volume as int16 NIfTI, atomically: slope 1, intercept 0, millimetres.

    Values are rounded to whole HU and clipped to [-32768, 32767].

    Args:
        path: the file to write or replace, ``.nii`` or ``.nii.gz``.
        volume: array, tensor or MetaTensor of shape (H, W, D) in HU.
        affine: 4×4 matrix from voxel indices to RAS millimetres. The sform keeps it, shears included; the qform,
            which cannot hold a shear, is marked invalid (code 0) where it would put voxels elsewhere.
        description: goes into the header's ``descrip``; at most 79 bytes of ASCII, no patient data.
        comment: longer text, of ASCII and without patient data, for a header extension of the kind "comment".

    Raises:
        ValueError: if the volume is not (H, W, D) or holds NaN or infinities, if the affine is not a finite,
            invertible 4×4 matrix, or if the suffix or the description does not fit.
    """
    _write_nifti(path, as_int16_hu(volume), affine, description, comment)


def write_nifti_labels(path: str | PathLike[str], labels: ArrayLike, affine: ArrayLike, description: str = "") -> None:
    """Write a label map as uint8 NIfTI, atomically.

    Args:
        path: the file to write or replace, ``.nii`` or ``.nii.gz``.
        labels: array, tensor or MetaTensor of shape (H, W, D) with whole numbers from 0 to 255.
        affine: 4×4 matrix from voxel indices to RAS millimetres, as in :func:`write_nifti_hu`.
        description: as in :func:`write_nifti_hu`.

    Raises:
        ValueError: if the labels are not whole numbers from 0 to 255, or as in :func:`write_nifti_hu`.
    """
    array = _as_volume(labels)
    with np.errstate(invalid="ignore"):  # NaN becomes some integer and fails the comparison
        as_bytes = array.astype(np.uint8)
    if not np.array_equal(as_bytes, array):
        raise ValueError("labels: expected whole numbers from 0 to 255 but got others")
    _write_nifti(path, as_bytes, affine, description)


def _as_volume(volume: ArrayLike) -> np.ndarray:
    if isinstance(volume, torch.Tensor):
        volume = volume.detach().cpu()
        # NumPy has no bfloat16, and float32 holds every value of the short types
        volume = (volume.float() if volume.dtype in (torch.bfloat16, torch.float16) else volume).numpy()
    array = np.asarray(volume)
    if array.ndim != 3 or not array.size:
        raise ValueError(f"volume: expected shape (H, W, D) but got {array.shape}")
    return array


def _write_nifti(
    path: str | PathLike[str], array: np.ndarray, affine: ArrayLike, description: str, comment: str = ""
) -> None:
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"path: expected a name ending in .nii or .nii.gz but got {path.name}")
    image = nifti_image(array, affine, description, comment)
    with atomic_path(path) as temporary:
        if path.name.endswith(".gz"):
            # ten times as fast as zlib at nearly the same size; without name and time, equal volumes are equal files
            with (
                open(temporary, "wb") as file,
                igzip_threaded.open(file, "wb", compresslevel=PACKING, threads=PACKERS) as packed,
            ):
                packed.write(image.to_bytes())
        else:
            nib.save(image, temporary)


def nifti_image(array: np.ndarray, affine: ArrayLike, description: str = "", comment: str = "") -> nib.Nifti1Image:
    """Make an image in memory as :func:`write_nifti_hu` writes it, of any numbers (H, W, D).

    Raises:
        ValueError: as :func:`write_nifti_hu` for affine and description.
    """
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-9:
        raise ValueError("affine: expected a finite, invertible 4×4 matrix")
    descrip = description.encode("ascii")
    if len(descrip) > MAX_DESCRIPTION:
        raise ValueError(f"description: expected at most {MAX_DESCRIPTION} characters but got {len(descrip)}")

    image = nib.Nifti1Image(array, matrix)
    image.header["descrip"] = descrip
    if comment:
        image.header.extensions.append(Nifti1Extension("comment", comment.encode("ascii")))
    image.header.set_xyzt_units("mm")
    image.set_sform(matrix, code=1)
    image.set_qform(matrix, code=1)  # the closest rotation and zooms
    if mm_apart(image.get_qform(), matrix, array.shape[:3]) > QFORM_TOLERANCE_MM:
        image.header["qform_code"] = 0
    return image
