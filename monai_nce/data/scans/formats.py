"""Read a volume that is a file of its own, NIfTI, MetaImage or NRRD, as its name says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from monai_nce.data.itk.header import ITK_SUFFIXES, METAIMAGE_SUFFIXES, is_itk_name, read_header
from monai_nce.data.itk.reader import check_itk, read_itk
from monai_nce.data.nifti.reader import NIFTI_SUFFIXES, check_nifti, read_nifti
from monai_nce.errors import InputError

__all__ = [
    "VOLUME_SUFFIXES",
    "check_file",
    "data_file",
    "holds_labels",
    "is_label_map",
    "is_volume_name",
    "read_file",
    "volume_stem",
]

VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
# As 3D Slicer, ITK-SNAP and people name what is no scan.
LABELS = re.compile(r"(^|[\W_])(seg|segmentation|labels?|labelmap|masks?)($|[\W_\d])", re.IGNORECASE)
PIECES = 0.8  # of a label's voxels, at least, have a neighbour of the same label
UNSIGNED = re.compile(r"MET_U\w+|u(nsigned |int).*|uchar|ushort|uint", re.IGNORECASE)


def is_volume_name(path: Path) -> bool:
    """Return whether a file's name says that it is a volume by itself."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def volume_stem(name: str) -> str:
    """Return a file's name without its suffix: ``scan`` of ``scan.nii.gz``."""
    suffix = max((suffix for suffix in VOLUME_SUFFIXES if name.lower().endswith(suffix)), key=len, default="")
    return name[: len(name) - len(suffix)]


def kind_of(path: Path) -> str:
    """Return ``"nifti"``, ``"metaimage"`` or ``"nrrd"``."""
    if not is_itk_name(path):
        return "nifti"
    return "metaimage" if path.name.lower().endswith(METAIMAGE_SUFFIXES) else "nrrd"


def check_file(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Check a file's header.

    Returns:
        The volume's shape, three numbers, and the 4×4 affine from voxel indices to RAS millimetres, float64.

    Raises:
        InputError: as :func:`~monai_nce.data.nifti.reader.check_nifti` and
            :func:`~monai_nce.data.itk.reader.check_itk`.
    """
    if is_itk_name(path):
        return check_itk(path)
    image = check_nifti(path)
    return image.shape[:3], np.array(image.affine, dtype=np.float64)


def read_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file to its last byte.

    Returns:
        The volume as stored, float32 of shape (H, W, D), and the 4×4 affine from voxel indices to RAS millimetres,
        float64.

    Raises:
        InputError: as :func:`~monai_nce.data.nifti.reader.read_nifti` and
            :func:`~monai_nce.data.itk.reader.read_itk`.
    """
    return read_itk(path) if is_itk_name(path) else read_nifti(path)


def data_file(path: Path) -> Path | None:
    """Return the file beside a header that holds its voxels; None if there is none."""
    if not is_itk_name(path):
        return None
    try:
        data = read_header(path).data
    except (InputError, OSError):
        return None
    return data if data != path else None


def is_label_map(path: Path) -> bool:
    """Tell by name and header whether a MetaImage or NRRD file holds labels, as such files beside a scan often do.

    Numbers without a sign cannot be HU, as these formats have no intercept.
    """
    if not is_itk_name(path):
        return False
    if LABELS.search(volume_stem(path.name)):
        return True
    try:
        fields = read_header(path).fields
    except (InputError, OSError):
        return False
    return bool(UNSIGNED.fullmatch(fields.get("elementtype") or fields.get("type") or ""))


def holds_labels(path: Path) -> bool:
    """Tell by its values whether a file holds labels: whole numbers from 0 up in pieces of one number.

    One of a single number is known by its name alone.
    """
    try:
        volume, _ = read_file(path)
    except InputError:
        return False
    if volume.min() < 0 or not np.array_equal(volume, np.rint(volume)):
        return False
    inside = volume[:-1] > 0
    same = volume[:-1] == volume[1:]
    if not inside.any() or volume.min() == volume.max():
        return bool(LABELS.search(volume_stem(path.name)))
    return float(np.mean(same[inside])) >= PIECES
