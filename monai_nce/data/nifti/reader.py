"""Read volumes from NIfTI files to the end, and refuse what a plain reader would guess.

The affine is nibabel's own: the sform where its code is set, else the qform. A file with neither has no orientation
and is refused.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip, igzip_lib
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import LoggingOutputSuppressor
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from monai_nce.data.nifti.geometry import check_geometry
from monai_nce.data.scans.affine import check_affine
from monai_nce.data.scans.foreign import advice
from monai_nce.data.scans.synthetic import refuse_synthetic
from monai_nce.errors import InputError

__all__ = ["NIFTI_SUFFIXES", "check_header", "check_nifti", "is_nifti_name", "read_nifti", "spare_bytes"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**30  # 4 GiB as float32, four times 512 × 512 × 1000: beyond it the header is taken to be broken
MIN_TRAILING, MAX_TRAILING = 2**12, 2**20  # bytes after the image that are let pass: less than a slice, in this range
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
            numbers, of a size that can be, in millimetres, with an invertible affine, or contradicts itself or the
            size of the file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not path.stat().st_size:
        raise InputError(f"{path}: empty file")
    try:
        stored = _stored_header(path)
        with LoggingOutputSuppressor():  # it tells what it mends, without the file's name
            image = nib.load(path)
        if stored is None or not isinstance(image, nib.Nifti1Image):
            raise ImageFileError("another format")
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable NIfTI file{advice(path)}") from error
    check_header(path, image, stored)
    _check_size(path, image)
    return image


def check_header(path: Path, image: nib.Nifti1Pair, stored: nib.Nifti1Header) -> None:
    """Refuse an image, from a file or from memory, whose header is not that of one scan in millimetres.

    Args:
        path: for messages.
        image: as nibabel holds it.
        stored: its header as it stands in the file, where nibabel mends it; the image's own if there is no file.

    Raises:
        InputError: as :func:`check_nifti`.
    """
    try:
        affine = np.asarray(image.affine, dtype=np.float64)
        units = image.header.get_xyzt_units()[0]
    except (HeaderDataError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a valid NIfTI header: its affine cannot be read") from error
    except KeyError as error:  # a code for the units that the standard does not know
        raise InputError(f"{path}: not a valid NIfTI header: {error}") from error
    if b"SYNTHETIC" in image.header["descrip"].tobytes():
        refuse_synthetic(path, "its header says so")
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
    check_affine(path, affine)
    check_geometry(path, image.header, stored)


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
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: truncated or damaged ({error})") from error
    return volume.reshape(image.shape[:3], order="F"), np.array(image.affine, dtype=np.float64)


def _stored_header(path: Path) -> nib.Nifti1Header | None:
    """Return the header as it stands in the file, where nibabel mends it; None if it is none.

    A header that says that it or its extensions are longer than the file lets them be is refused: nibabel would read
    on. So are voxels that would begin within the header.
    """
    opener = igzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as file:
        start = file.read(HEADER_BYTES)
        size = next((n for n in (348, 540) for order in ("little", "big") if start[:4] == n.to_bytes(4, order)), 0)
        if not size or len(start) < size + 4:
            return None
        header = (nib.Nifti1Header if size == 348 else nib.Nifti2Header)(start[:size], check=False)
        extended = start[size]
        start += file.read(MAX_OFFSET) if extended else b""
    end, at = float(header["vox_offset"]), size + 4
    if not (end >= at and end.is_integer()):
        raise InputError(f"{path}: the header says that the voxels begin at byte {end:g}, which is not behind it")
    if extended and end > MAX_OFFSET:
        raise InputError(f"{path}: the header says that the voxels begin at byte {end:g}")
    while extended and at + 8 <= min(end, len(start)):
        (length,) = struct.unpack_from(header.endianness + "i", start, at)
        if length < 16 or at + length > len(start):
            raise InputError(f"{path}: an extension of its header says that it has {length} bytes")
        at += length
    return header


def _check_size(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse a file that cannot hold what its header says, before memory is taken for it."""
    expected, size = _expected_bytes(image), path.stat().st_size
    packed = path.name.lower().endswith(".gz")
    if not packed and size < expected:
        raise InputError(f"{path}: truncated or damaged (expected {expected} bytes but got {size})")
    if not packed and size > expected + spare_bytes(image.shape, image.get_data_dtype().itemsize):
        raise InputError(f"{path}: holds more data than its header says (expected {expected} bytes but got {size})")
    if packed and expected > MAX_UNCHECKED and expected > size * MAX_RATIO:
        raise InputError(f"{path}: {size} compressed bytes are not taken to hold the {expected} of the header")


def _expected_bytes(image: nib.Nifti1Image) -> int:
    assert isinstance(image.dataobj, ArrayProxy)  # it was loaded from a file
    return int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize


def spare_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Return how much may follow a volume: less than another slice, which would be one that the header leaves out."""
    return min(max(math.prod(shape[:2]) * itemsize - 1, MIN_TRAILING), MAX_TRAILING)


def _decompressed(path: Path, image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Load the image through memory: only reading past the last byte makes gzip compare the checksum."""
    most = _expected_bytes(image) + spare_bytes(image.shape, image.get_data_dtype().itemsize)
    with igzip.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise InputError(f"{path}: holds more data than its header says")
    return type(image).from_bytes(content)
