"""Refuse a label map that is no torso: read by the wrong naming, mirrored, upside down or out of scale.

What is checked holds in any patient whose organs lie on their usual sides. Mirrored organs (situs inversus) are
refused on purpose: virtual patients are never mirrored.

Source: [G04] Geraghty et al., Abdominal Imaging 2004: volumes on CT, mean of women and men: liver 1411 and 1710, spleen
180 and 238, one kidney 157 and 193, pancreas 64 and 87 ml, adrenal gland 4.4 ml and more.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from monai_nce.errors import InputError
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["check_plausible"]

_TORSO = (
    "rib sternum lung trachea esophagus heart aorta pulmonary_vein superior_vena_cava inferior_vena_cava portal_vein "
    "hepatic_vein liver gallbladder spleen pancreas adrenal_gland kidney_right kidney_left renal_pelvis stomach "
    "duodenum small_bowel colon bowel urinary_bladder prostate uterus"
)
TORSO = tuple(_TORSO.split())
MIN_KINDS = 3
FRAGMENT_ML = 10.0  # what is smaller may be a network's mistake far from the organ, and says nothing of places
MIN_LIVER_ML = 140.0  # where it is whole in view: a tenth of the mean [G04]; nobody is without
MAX_ML = {  # choices: far above the means of [G04] and what disease is known to make of the organ
    "liver": 12000,
    "spleen": 5000,
    "kidney_right": 4000,
    "kidney_left": 4000,
    "pancreas": 800,
    "adrenal_gland": 400,
    "gallbladder": 1000,
    "heart": 3000,
    "aorta": 2000,
    "trachea": 300,
    "esophagus": 600,
    "thyroid_gland": 800,
    "lung": 14000,
}
# Pairs of which the first lies further to the right, to the front or up, by their centres.
RIGHT_OF = (("liver", "spleen"), ("liver", "aorta"), ("kidney_right", "kidney_left"))
IN_FRONT_OF = tuple(
    (first, second)
    for first, second in product(("liver", "heart", "sternum", "aorta"), ("vertebra", "spinal_canal"))
    if (first, second) != ("aorta", "vertebra")  # beside it in the chest
)
ABOVE = (
    *product(("lung", "heart"), ("liver", "kidney_right", "kidney_left", "urinary_bladder")),
    *product(("liver", "spleen", "kidney_right", "kidney_left"), ("urinary_bladder",)),
    *product(("brain",), ("lung", "heart", "liver")),
)
PLACES = (  # axis, the words for it and for its opposite, pairs
    (0, "to the right of", "to its left", RIGHT_OF),
    (1, "in front of", "behind it", IN_FRONT_OF),
    (2, "above", "below it", ABOVE),
)
TOLERANCE_MM = 10.0


def check_plausible(path: Path, structures: np.ndarray, affine: np.ndarray, naming: str) -> None:
    """Check that structures lie as in a torso.

    Args:
        path: the file or folder, for the message.
        structures: (X, Y, Z) uint8, values of ``STRUCTURES``, axes to the right, to the front and upwards.
        affine: 4×4, diagonal, in mm.
        naming: what the map was read by, for the message.

    Raises:
        InputError: if there are fewer than three kinds of structures of a torso, an organ is too large, the liver too
            small, or one organ lies on the wrong side of another.
    """
    spacing = np.diag(affine)[:3]
    profiles = [_profile(structures, axis) for axis in range(3)]
    ml = profiles[0].sum(0) * float(np.prod(spacing)) / 1000
    kinds = [name for name in TORSO if ml[STRUCTURES[name]] > 0]
    if len(kinds) < MIN_KINDS:
        got = ", ".join(kinds) or ("nothing but background" if structures.max() == 0 else "none")
        raise InputError(f"{path}: expected {MIN_KINDS} or more kinds of structures of a torso but got {got}")
    again = f"read with the naming {naming}; is it another, or are the voxels not in mm?"
    for name, most in MAX_ML.items():
        if ml[STRUCTURES[name]] > most:
            raise InputError(f"{path}: {name} has {ml[STRUCTURES[name]]:.0f} ml, more than any patient's ({again})")
    liver = STRUCTURES["liver"]
    whole = not any(profile[end, liver] for profile in profiles for end in (0, -1))
    if whole and 0 < ml[liver] < MIN_LIVER_ML:
        raise InputError(f"{path}: liver has {ml[liver]:.1f} ml, less than any patient's ({again})")

    centre = {
        name: [spacing[axis] * _mean(profile[:, value]) for axis, profile in enumerate(profiles)]
        for name, value in STRUCTURES.items()
        if ml[value] > FRAGMENT_ML
    }
    for axis, rightly, wrongly, pairs in PLACES:
        for first, second in pairs:
            if first in centre and second in centre:
                off = centre[second][axis] - centre[first][axis]
                if off > TOLERANCE_MM:
                    raise InputError(
                        f"{path}: expected {first} {rightly} {second} but it lies {off:.0f} mm {wrongly}: mirrored, "
                        f"turned or of another naming than {naming}"
                    )


def _profile(structures: np.ndarray, axis: int) -> np.ndarray:
    """Count voxels along one axis: (size, structures)."""
    slices = np.moveaxis(structures, axis, 0)
    return np.stack([np.bincount(each.ravel(), minlength=len(STRUCTURES)) for each in slices])


def _mean(counts: np.ndarray) -> float:
    return float(np.average(np.arange(len(counts)), weights=counts))
