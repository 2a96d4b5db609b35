"""Read volumes from MetaImage and NRRD files to the end, with the geometry that ITK gives them.

ITK reads the headers. The voxels are read here, since it says nothing of a wrong checksum, of data that cannot be
unpacked or of more data than the header says; and it puts something in the place of what the header leaves out.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from isal import igzip
from numpy.typing import ArrayLike

from monai_nce.data.itk.header import METAIMAGE_SUFFIXES, ItkHeader, read_header
from monai_nce.data.nifti.reader import MAX_VOXELS, UNREADABLE, spare_bytes
from monai_nce.data.scans.affine import check_affine
from monai_nce.data.scans.foreign import advice
from monai_nce.data.scans.synthetic import refuse_synthetic
from monai_nce.errors import InputError

__all__ = ["check_itk", "ras_affine", "read_itk"]

DTYPES = {
    sitk.sitkInt8: np.int8,
    sitk.sitkUInt8: np.uint8,
    sitk.sitkInt16: np.int16,
    sitk.sitkUInt16: np.uint16,
    sitk.sitkInt32: np.int32,
    sitk.sitkUInt32: np.uint32,
    sitk.sitkInt64: np.int64,
    sitk.sitkUInt64: np.uint64,
    sitk.sitkFloat32: np.float32,
    sitk.sitkFloat64: np.float64,
}
# What ITK knows; of another space it takes the axes for its own.
SPACES = ("right-anterior-superior", "left-anterior-superior", "left-posterior-superior", "ras", "las", "lps")
MM = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}


def check_itk(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Check the header of a ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr`` file; its voxels are not read yet.

    Returns:
        Its shape, three numbers, and the 4×4 affine from voxel indices to RAS millimetres, float64.

    Raises:
        InputError: if the file is missing or another one, or if its header does not describe one volume of real
            numbers, of a size that can be, in millimetres, with its voxels' size and orientation, or is synthetic.
    """
    reader, _ = _check(path)
    return reader.GetSize(), _affine(reader)


def read_itk(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a ``.mha``, ``.mhd``, ``.nrrd`` or ``.nhdr`` file.

    Returns:
        The volume as stored, float32 of shape (H, W, D), and the 4×4 affine from voxel indices to RAS millimetres,
        float64.

    Raises:
        InputError: as :func:`check_itk`, and if the voxels are truncated or damaged, or more than the header says.
    """
    reader, header = _check(path)
    shape = reader.GetSize()
    dtype = np.dtype(DTYPES[reader.GetPixelID()]).newbyteorder(">" if header.big_endian else "<")
    expected = math.prod(shape) * dtype.itemsize
    content = _voxels(path, header, expected + spare_bytes(shape, dtype.itemsize))
    if len(content) < expected:
        raise InputError(f"{path}: truncated or damaged (expected {expected} bytes of voxels but got {len(content)})")
    volume = np.frombuffer(content, dtype, math.prod(shape)).astype(np.float32)
    return volume.reshape(shape, order="F"), _affine(reader)


def _check(path: Path) -> tuple[sitk.ImageFileReader, ItkHeader]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if not path.stat().st_size:
        raise InputError(f"{path}: empty file")
    is_metaimage = path.name.lower().endswith(METAIMAGE_SUFFIXES)
    kind = "MetaImage" if is_metaimage else "NRRD"
    reader = sitk.ImageFileReader()
    reader.SetImageIO(f"{'Meta' if is_metaimage else 'Nrrd'}ImageIO")
    reader.SetFileName(str(path))
    try:
        header = read_header(path)
        reader.ReadImageInformation()
    except (RuntimeError, OSError) as error:
        raise InputError(f"{path}: not a readable {kind} file{advice(path)}") from error
    if any("SYNTHETIC" in text for text in header.fields.values()):
        refuse_synthetic(path, "its header says so")
    shape = reader.GetSize()
    if len(shape) != 3 or reader.GetNumberOfComponents() != 1:
        sizes = f"{' × '.join(map(str, shape))} voxels of {reader.GetNumberOfComponents()} values"
        raise InputError(f"{path}: expected one three-dimensional volume but got {sizes}")
    if math.prod(shape) > MAX_VOXELS:
        raise InputError(f"{path}: the header says {shape} voxels, more than this program takes ({MAX_VOXELS})")
    if reader.GetPixelID() not in DTYPES:
        raise InputError(f"{path}: expected real numbers but got {sitk.GetPixelIDValueAsString(reader.GetPixelID())}")
    (_check_metaimage if is_metaimage else _check_nrrd)(path, header.fields)
    check_affine(path, _affine(reader))
    return reader, header


def _check_metaimage(path: Path, fields: dict[str, str]) -> None:
    if not any(word in fields for word in ("transformmatrix", "orientation", "rotation")):
        raise InputError(f"{path}: has no orientation (its header has no TransformMatrix)")
    if "elementspacing" not in fields:
        raise InputError(f"{path}: has no size of its voxels (its header has no ElementSpacing)")
    if (unit := fields.get("distanceunits", "").lower()) not in MM:
        raise InputError(f"{path}: expected millimetres but the header says {unit[:20]}")


def _check_nrrd(path: Path, fields: dict[str, str]) -> None:
    space = fields.get("space", "").lower()
    if not space:
        raise InputError(f"{path}: has no orientation (its header has no space)")
    if space not in SPACES:
        raise InputError(f"{path}: expected a space such as {SPACES[2]} but got {space[:40]}")
    if "space directions" not in fields:
        raise InputError(f"{path}: has no size of its voxels (its header has no space directions)")
    units = {unit.strip().lower() for unit in fields.get("space units", "").split('"')}
    if not units <= MM:
        raise InputError(f"{path}: expected millimetres but the header says {', '.join(sorted(units - MM))[:40]}")


def _voxels(path: Path, header: ItkHeader, most: int) -> bytes:
    """Read and unpack the voxels to their last byte and checksum, at most so many bytes."""
    try:
        with open(header.data, "rb") as file:
            file.seek(header.offset)
            if not header.compression:
                content = file.read(most + 1)
            elif header.compression == "gzip":
                content = igzip.GzipFile(fileobj=file).read(most + 1)
            else:
                unpacker = zlib.decompressobj()
                content = unpacker.decompress(file.read(), most + 1)
                if len(content) <= most and not unpacker.eof:
                    raise EOFError("its end is missing")
    except UNREADABLE as error:
        raise InputError(f"{path}: truncated or damaged ({error})") from error
    if len(content) > most:
        raise InputError(f"{path}: holds more data than its header says")
    return content


def ras_affine(direction: ArrayLike, spacing: ArrayLike, origin: ArrayLike) -> np.ndarray:
    """Return the 4×4 affine from voxel indices to RAS millimetres of a geometry as ITK has it.

    >>> ras_affine([1, 0, 0, 0, 1, 0, 0, 0, 1], [0.8, 0.7, 5], [10, 20, 30])[:, 3].tolist()
    [-10.0, -20.0, 30.0, 1.0]
    """
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(direction, np.float64).reshape(3, 3) * np.asarray(spacing, np.float64)
    affine[:3, 3] = origin
    affine[:2] *= -1  # ITK's axes run to the left and to the back
    return affine


def _affine(reader: sitk.ImageFileReader) -> np.ndarray:
    return ras_affine(reader.GetDirection(), reader.GetSpacing(), reader.GetOrigin())
