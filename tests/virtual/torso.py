"""A torso made of boxes, as small as a label map of one can be: for tests of files and their errors."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from monai_nce.virtual.structures import STRUCTURES

SPACING = (8.0, 8.0, 10.0)
AFFINE = np.diag([*SPACING, 1.0])
AFFINE[:3, 3] = -160, -100, -200
BOXES = {  # voxels along x, y and z: to the right, to the front, upwards
    "spinal_canal": ((18, 22), (4, 6), (2, 38)),
    "liver": ((22, 36), (8, 20), (20, 28)),
    "spleen": ((4, 10), (6, 12), (20, 28)),
    "kidney_right": ((26, 31), (4, 8), (12, 20)),
    "kidney_left": ((9, 14), (4, 8), (12, 20)),
    "aorta": ((18, 20), (8, 10), (2, 38)),
    "urinary_bladder": ((16, 24), (12, 20), (2, 8)),
    "lung": ((24, 36), (6, 20), (29, 39)),
}
TOTALSEGMENTATOR = {
    "spinal_canal": (79, "spinal_cord"),
    "liver": (5, "liver"),
    "spleen": (1, "spleen"),
    "kidney_right": (2, "kidney_right"),
    "kidney_left": (3, "kidney_left"),
    "aorta": (52, "aorta"),
    "urinary_bladder": (21, "urinary_bladder"),
    "lung": (14, "lung_lower_lobe_right"),
}


def torso() -> np.ndarray:
    """Values of ``STRUCTURES``, uint8, axes as ``AFFINE`` says."""
    structures = np.zeros((40, 24, 40), np.uint8)
    for name, box in BOXES.items():
        structures[tuple(slice(*ends) for ends in box)] = STRUCTURES[name]
    return structures


def numbers() -> np.ndarray:
    """The same with TotalSegmentator's numbers."""
    table = np.zeros(256, np.uint8)
    for name, (number, _) in TOTALSEGMENTATOR.items():
        table[STRUCTURES[name]] = number
    return table[torso()]


def save(path: Path, volume: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    """Write a NIfTI file."""
    nib.save(nib.Nifti1Image(volume, affine), path)
    return path


def save_masks(folder: Path) -> Path:
    """Write a folder of masks, as TotalSegmentator does."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (_, stem) in TOTALSEGMENTATOR.items():
        save(folder / f"{stem}.nii.gz", (torso() == STRUCTURES[name]).astype(np.uint8))
    save(folder / "stomach.nii.gz", np.zeros_like(torso()))  # not in view
    return folder
