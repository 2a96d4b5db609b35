"""Read volumes from NIfTI files to the end, and refuse what a plain reader would guess.

The affine is nibabel's own: the sform where its code is set, else the qform. A file with neither has no orientation
and is refused.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip, igzip_lib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from monai_nce.errors import InputError

__all__ = ["NIFTI_SUFFIXES", "check_nifti", "is_nifti_name", "read_nifti"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**30  # 4 GiB as float32, four times 512 × 512 × 1000: beyond it the header is taken to be broken
MAX_TRAILING = 2**20  # bytes after the image that are let pass
HEADER_BYTES = 544  # of NIfTI-2, with the flag for extensions
MAX_OFFSET = 2**24  # bytes of header and extensions
# A scan compresses to a third or so; deflate's best, on zeros alone, is 1032 to 1. Small files may be that empty.
MAX_UNCHECKED = 2**28
MAX_RATIO = 200
UNREADABLE: tuple[type[Exception], ...] = (
    *(ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, ValueError, struct.error),
    *(zlib.error, igzip_lib.IsalError),  # type: ignore[assignment]  # isal's types take the class for an exception
)


def is_nifti_name(path: Path) -> bool:
    """Return whether a file's name says NIfTI."""
    return path.name.lower().endswith(NIFTI_SUFFIXES)


def check_nifti(path: Path) -> nib.Nifti1Image:
    """Check the header of a ``.nii`` or ``.nii.gz`` file; the image's voxels are not read yet.

    Raises:
        InputError: if the file is missing, empty or not NIfTI, or if its header does not describe one volume of real
            numbers, of a size that can be, in millimetres, with an invertible affine.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not path.stat().st_size:
        raise InputError(f"{path}: empty file")
    try:
        _check_extensions(path)
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Image):
            raise ImageFileError("another format")
        affine = np.asarray(image.affine, dtype=np.float64)
        units = image.header.get_xyzt_units()[0]
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable NIfTI file") from error
    except KeyError as error:  # a code for the units that the standard does not know
        raise InputError(f"{path}: not a valid NIfTI header: {error}") from error

    if b"SYNTHETIC" in image.header["descrip"].tobytes():
        raise InputError(f"{path}: the image is synthetic already (its header says so)")
    shape, dtype = image.shape, image.get_data_dtype()
    if len(shape) < 3 or any(size != 1 for size in shape[3:]) or min(shape) < 1:
        raise InputError(f"{path}: expected one three-dimensional volume but got shape {shape}")
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{path}: the header says {shape} voxels, more than this program takes ({MAX_VOXELS})")
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: expected real numbers but got data of type {dtype}")
    if units not in ("mm", "unknown"):
        raise InputError(f"{path}: expected millimetres but the header says {units}")
    if not (image.header["sform_code"] > 0 or image.header["qform_code"] > 0):
        raise InputError(f"{path}: has no orientation (neither sform nor qform is set)")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-6:
        raise InputError(f"{path}: its affine is singular or not finite")
    _check_size(path, image)
    return image


def read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a ``.nii`` or ``.nii.gz`` file.

    Returns:
        The volume as stored, scaled by its slope and intercept, float32 of shape (H, W, D), and the 4×4 affine from
        voxel indices to RAS millimetres, float64.

    Raises:
        InputError: as :func:`check_nifti`, and if the file is truncated or its checksum is wrong.
    """
    image = check_nifti(path)
    try:
        if path.name.lower().endswith(".gz"):
            image = _decompressed(path, image)
        volume = image.get_fdata(dtype=np.float32, caching="unchanged")
    except UNREADABLE as error:
        raise InputError(f"{path}: truncated or damaged ({error})") from error
    return volume.reshape(image.shape[:3], order="F"), np.array(image.affine, dtype=np.float64)


def _check_extensions(path: Path) -> None:
    """Refuse a header whose extensions say that they are longer than the file lets them be: nibabel would read on."""
    opener = igzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        start = file.read(HEADER_BYTES)
        size = next((n for n in (348, 540) for order in ("little", "big") if start[:4] == n.to_bytes(4, order)), 0)
        if not size or len(start) < size + 4 or not start[size]:
            return  # nibabel says what is wrong, or there are no extensions
        start += file.read(MAX_OFFSET)
    order = ">" if start[:1] == b"\0" else "<"
    (end,) = struct.unpack_from(order + ("f" if size == 348 else "q"), start, 108 if size == 348 else 168)
    at = size + 4
    while at + 8 <= min(end, len(start)):
        (length,) = struct.unpack_from(order + "i", start, at)
        if length < 16 or at + length > len(start):
            raise InputError(f"{path}: an extension of its header says that it has {length} bytes")
        at += length
    if not end <= MAX_OFFSET:
        raise InputError(f"{path}: the header says that the voxels begin at byte {end:g}")


def _check_size(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse a file that cannot hold what its header says, before memory is taken for it."""
    expected, size = _expected_bytes(image), path.stat().st_size
    packed = path.name.lower().endswith(".gz")
    if not packed and size < expected:
        raise InputError(f"{path}: truncated or damaged (expected {expected} bytes but got {size})")
    if packed and expected > MAX_UNCHECKED and expected > size * MAX_RATIO:
        raise InputError(f"{path}: {size} compressed bytes are not taken to hold the {expected} of the header")


def _expected_bytes(image: nib.Nifti1Image) -> int:
    return int(image.header.get_data_offset()) + math.prod(image.shape) * image.get_data_dtype().itemsize


def _decompressed(path: Path, image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Load the image through memory: only reading past the last byte makes gzip compare the checksum."""
    expected = _expected_bytes(image)
    with igzip.open(path) as file:
        content = file.read(expected + MAX_TRAILING + 1)
    if len(content) > expected + MAX_TRAILING:
        raise InputError(f"{path}: holds more data than its header says")
    return type(image).from_bytes(content)
