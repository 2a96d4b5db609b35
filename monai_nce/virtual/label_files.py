"""Read label numbers from NIfTI and NRRD files, and refuse what is no label map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes

from monai_nce.data.itk.reader import read_itk
from monai_nce.data.nifti.reader import NIFTI_SUFFIXES, check_nifti, read_nifti
from monai_nce.errors import InputError
from monai_nce.virtual.naming import MAX_NUMBER

__all__ = ["LABEL_SUFFIXES", "LabelFile", "is_label_name", "label_stem", "read_label_file"]

LABEL_SUFFIXES = (*NIFTI_SUFFIXES, ".seg.nrrd", ".nrrd")
SPACING_MM = (0.1, 20.0)  # beyond it the header is not in millimetres, or not of a patient
# Labels as TotalSegmentator writes them into the NIfTI header's extension, in the form of Connectome Workbench.
NAMED_LABEL = re.compile(r'<Label\s[^>]*?Key="(\d+)"[^>]*>\s*(?:<!\[CDATA\[)?\s*([^<\]]*?)\s*(?:\]\]>)?\s*</Label>')


@dataclass(frozen=True)
class LabelFile:
    """Hold the labels of one file.

    Attributes:
        numbers: (H, W, D) uint16, voxels in the order of the file.
        affine: 4×4 matrix from voxel indices to RAS millimetres, float64.
        names: names that the file's header gives to its numbers; empty if it gives none.
    """

    numbers: np.ndarray
    affine: np.ndarray
    names: dict[int, str]


def is_label_name(path: Path) -> bool:
    """Return whether a file's name says NIfTI or NRRD."""
    return path.name.lower().endswith(LABEL_SUFFIXES)


def label_stem(path: Path) -> str:
    """Return a file's name without the suffix: ``liver`` of ``liver.nii.gz``."""
    suffix = max((suffix for suffix in LABEL_SUFFIXES if path.name.lower().endswith(suffix)), key=len, default="")
    return path.name[: len(path.name) - len(suffix)]


def read_label_file(path: Path) -> LabelFile:
    """Read a NIfTI or NRRD file of label numbers.

    Raises:
        InputError: if the file is missing, damaged, of another format or not one volume; has no orientation or
            spacings that are not a patient's in millimetres; or its values are not whole numbers from 0 to 65535.
    """
    if not is_label_name(path):
        raise InputError(f"{path}: expected a label map as NIfTI or NRRD ({', '.join(LABEL_SUFFIXES)})")
    volume, affine, names = (*read_itk(path), {}) if path.name.lower().endswith(".nrrd") else _read_nifti(path)
    spacing = voxel_sizes(affine)
    if not ((spacing >= SPACING_MM[0]) & (spacing <= SPACING_MM[1])).all():
        sizes = " × ".join(f"{size:g}" for size in spacing)
        raise InputError(f"{path}: expected voxels of {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm but got {sizes}")
    low, high = volume.min(), volume.max()  # NaN if any value is
    if not (low >= 0 and high <= MAX_NUMBER):
        raise InputError(
            f"{path}: expected label numbers from 0 to {MAX_NUMBER} but got values from {low:g} to {high:g}"
        )
    numbers = volume.astype(np.uint16)
    if volume.dtype.kind == "f" and not np.array_equal(numbers, volume):
        raise InputError(f"{path}: expected whole label numbers but got fractions")
    return LabelFile(numbers, affine, names)


def _read_nifti(path: Path) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    names: dict[int, str] = {}
    for extension in check_nifti(path).header.extensions:
        content = extension.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        names.update((int(number), name) for number, name in NAMED_LABEL.findall(text))
    return *read_nifti(path), names
