"""Check that the parts of a NIfTI header agree about size and place of the voxels.

A header says it up to three times: by its sform, by its qform, and by pixel sizes, which the qform shares. nibabel
follows the sform, ITK the qform, and both put something in the place of what cannot be. So where the parts disagree
about size or sides the file is refused; where they only lie elsewhere, what was taken is said.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.spatialimages import HeaderDataError

from monai_nce.data.scans.affine import in_mm, mm_apart
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError

__all__ = ["check_geometry"]

SIZE = 0.05  # of a voxel: sizes farther apart contradict each other
NOTED_SIZE = 0.001
NOTED_MM = 0.1  # between places of a voxel
HELP = "correct the header, or convert the scan from DICOM again"


def check_geometry(path: Path, header: nib.Nifti1Header, stored: nib.Nifti1Header) -> None:
    """Refuse a header whose parts contradict each other, and warn where it is in doubt.

    Args:
        path: for messages.
        header: as nibabel mended it; sform or qform is set.
        stored: as it stands in the file.

    Raises:
        InputError: if pixel sizes are missing and no sform stands in for them, if sizes by the sform and pixel sizes
            are more than 5 % apart, or if sform and qform mirror each other.
    """
    for kind in ("sform", "qform"):
        if header[f"{kind}_code"] != (code := stored[f"{kind}_code"]):
            _note(path, f"its {kind}_code is {code}, which the standard does not know; its {kind} was not taken")
    sizes = stored["pixdim"][1:4].astype(np.float64)
    known = bool(np.all(np.isfinite(sizes) & (sizes > 0)))
    qfac = float(stored["pixdim"][0])
    if header["qform_code"] > 0 and qfac not in (-1, 0, 1):
        _note(path, f"its qfac is {qfac:g}, where 1 or -1 is expected; 1 was taken")
    if header["sform_code"] <= 0:
        if not known:
            raise InputError(f"{path}: its pixel sizes are {in_mm(sizes)}, and no sform is set: {HELP}")
        return
    sform = header.get_sform()
    if known and (header["qform_code"] > 0 or np.any(sizes != 1)):
        _compare_sizes(path, sform, sizes)
    elif not known or not np.allclose(voxel_sizes(sform), 1):  # without a qform, 1 × 1 × 1 is what nobody filled in
        _note(path, f"its pixel sizes are {in_mm(sizes)}; those of its sform were taken, {in_mm(voxel_sizes(sform))}")
    if known and header["qform_code"] > 0:
        _compare_places(path, sform, header)


def _compare_sizes(path: Path, sform: np.ndarray, sizes: np.ndarray) -> None:
    """Sizes are distances from voxel to voxel, or, as some write them under a gantry tilt, from slice to slice."""
    steps = voxel_sizes(sform)
    between = 1 / np.linalg.norm(np.linalg.inv(sform[:3, :3]), axis=1)
    off = np.minimum(np.abs(steps - sizes), np.abs(between - sizes)) / sizes
    if off.max() > SIZE:
        text = f"its sform has voxels of {in_mm(steps)}, its pixel sizes are {in_mm(sizes)}"
        raise InputError(f"{path}: {text}; which are right is not known: {HELP}")
    if off.max() > NOTED_SIZE:
        _note(path, f"its pixel sizes are {in_mm(sizes)}; those of its sform were taken, {in_mm(steps)}")


def _compare_places(path: Path, sform: np.ndarray, header: nib.Nifti1Header) -> None:
    try:
        qform = header.get_qform()
    except (HeaderDataError, ValueError):
        qform = np.full((4, 4), np.nan)
    if not np.isfinite(qform).all():
        _note(path, "its qform is no rotation; its sform was taken")
        return
    if np.linalg.det(sform[:3, :3]) * np.linalg.det(qform[:3, :3]) < 0:
        raise InputError(f"{path}: its sform and qform mirror each other, so that left and right are not known: {HELP}")
    apart = mm_apart(sform, qform, header.get_data_shape()[:3])
    if apart > NOTED_MM:
        _note(path, f"its sform and qform put voxels up to {apart:.1f} mm apart; the sform was taken")


def _note(path: Path, text: str) -> None:
    warnings.warn(f"{path}: {text}", ReaderWarning, stacklevel=4)
