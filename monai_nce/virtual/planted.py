"""Plant lesions of a chosen pattern and size into a patient's liver, spleen and kidneys.

Unlike those of :mod:`monai_nce.virtual.lesions`, which follow how lesions look in patients, these differ from the organ
by a known amount, so that one can ask what becomes of each. Most of the numbers are choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from monai_nce.virtual.anatomy import Anatomy, Mask, is_any
from monai_nce.virtual.lesions import Lesion
from monai_nce.virtual.noise import smooth_noise
from monai_nce.virtual.physiology import Physiology
from monai_nce.virtual.tissue_map import CODES, TissueMap

__all__ = ["PATTERNS", "Pattern", "PlantedLesion", "WantedLesion", "plant_lesions"]


@dataclass(frozen=True)
class Pattern:
    """Say by how many HU a lesion differs from its organ, without contrast medium and with it; None is a cyst."""

    nect: float | None
    cect: float | None


PATTERNS = {
    "hidden, hyper": Pattern(0, 30),  # the plain scan does not know of it
    "hidden, hypo": Pattern(0, -30),
    "faint, hyper": Pattern(-6, 30),  # within the plain scan's noise, as many hepatocellular carcinomas
    "faint, hypo": Pattern(-6, -30),
    "shown, hyper": Pattern(-20, 30),  # as blood-rich tumours that the plain scan shows dark
    "shown, hypo": Pattern(-20, -45),  # as metastases
    "shown, fading": Pattern(-20, 0),  # as haemangiomas that have filled
    "cyst": Pattern(None, None),  # takes none up
}
ORGANS = {  # structures, and the tissue that a lesion takes the place of
    "liver": (("liver",), "liver"),
    "spleen": (("spleen",), "spleen"),
    "kidney": (("kidney_right", "kidney_left"), "kidney_cortex"),
}
INSIDE = 0.8  # of its radius that a lesion's middle lies within the organ, at least
APART = 10.0  # mm between lesions, at least


@dataclass(frozen=True)
class WantedLesion:
    """Ask for a lesion: a key of ``PATTERNS``, and least and largest diameter in mm."""

    pattern: str
    diameter: tuple[float, float]


@dataclass(frozen=True)
class PlantedLesion:
    """Hold what was planted: pattern, organ, and the diameter in mm of a ball of its volume."""

    pattern: str
    organ: str
    diameter: float


def plant_lesions(
    anatomy: Anatomy,
    tissues: TissueMap,
    values: Physiology,
    wanted: Sequence[WantedLesion],
    heights: tuple[float, float],
    rng: np.random.Generator,
) -> tuple[TissueMap, NDArray[np.uint8], list[PlantedLesion]]:
    """Plant lesions where they fit, apart from each other, in the scanned part of the organs.

    Args:
        anatomy: the patient's organs.
        tissues: the patient's tissues on the grid of ``anatomy``; they stay as they are.
        values: the patient's HU.
        wanted: lesions; those that fit nowhere are left out.
        heights: ends of the scanned part in mm.
        rng: where they lie, their size and their shape.

    Returns:
        The tissues with the lesions; uint8 numbers of the lesions from 1 on; the lesions.
    """
    spacing = anatomy.spacing
    changed = replace(tissues, codes=tissues.codes.copy(), uptake=tissues.uptake.copy(), shade=tissues.shade.copy())
    numbers = np.zeros(tissues.codes.shape, np.uint8)
    bumps = smooth_noise(numbers.shape, spacing, 14, rng)
    fat = tissues.codes == CODES["visceral_fat"]  # of a sinus, and where an organ was taken out
    organs = {name: is_any(anatomy.structures, structures) & ~fat for name, (structures, _) in ORGANS.items()}
    planted: list[PlantedLesion] = []
    taken: list[tuple[NDArray[np.float64], float]] = []
    for one in wanted:
        radius = float(np.exp(rng.uniform(*np.log(one.diameter)))) / 2
        radii = radius / spacing * rng.uniform(0.85, 1.15, size=3)
        for name in rng.permutation(list(ORGANS)):
            organ = organs[name]
            center = _place(anatomy, organ, radius, heights, taken, rng)
            if center is not None:
                break
        else:
            continue
        box, level = Lesion("", center, radii, 0.0).level(numbers.shape, bumps)
        where = (level < 1) & organ[box]
        numbers[box][where] = len(planted) + 1
        _paint(changed, box, where, PATTERNS[one.pattern], ORGANS[name][1], values)
        volume = float(where.sum()) * spacing**3
        planted.append(PlantedLesion(one.pattern, str(name), round(float(np.cbrt(6 * volume / np.pi)), 2)))
        taken.append((center, radius))
    return changed, numbers, planted


def _place(
    anatomy: Anatomy,
    organ: Mask,
    radius: float,
    heights: tuple[float, float],
    taken: Sequence[tuple[NDArray[np.float64], float]],
    rng: np.random.Generator,
) -> NDArray[np.float64] | None:
    """Draw a middle in voxels, deep enough in the organ, in the scanned part and apart from other lesions."""
    z = anatomy.origin[2] + np.arange(organ.shape[2]) * anatomy.spacing
    low, high = heights
    scanned = (z >= low + radius) & (z <= high - radius)
    places = np.argwhere(organ & (anatomy.depth >= INSIDE * radius) & scanned)
    for center, other in taken:
        if len(places):
            away = np.linalg.norm(places - center, axis=1) * anatomy.spacing
            places = places[away >= radius + other + APART]
    return places[rng.integers(len(places))].astype(float) if len(places) else None


def _paint(
    tissues: TissueMap, box: tuple[slice, ...], where: Mask, pattern: Pattern, tissue: str, values: Physiology
) -> None:
    if pattern.nect is None or pattern.cect is None:
        tissues.codes[box][where] = CODES["cyst"]
        tissues.uptake[box][where] = 1
        return
    tissues.codes[box][where] = CODES[tissue]
    tissues.shade[box][where] += np.float32(pattern.nect)
    more = (pattern.cect - pattern.nect) / values.enhancement[tissue]
    tissues.uptake[box][where] = np.maximum(tissues.uptake[box][where] + np.float32(more), 0)
