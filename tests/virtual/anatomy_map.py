"""A small made-up torso as a label map, for tests: ellipsoids by name, 4 mm, RAS+."""

from __future__ import annotations

import numpy as np

from monai_nce.virtual.label_map import LabelMap
from monai_nce.virtual.structures import STRUCTURES

SPACING = 4.0
SHAPE = (64, 52, 48)
# name: centre and radii in mm about the middle of the grid; x grows to the patient's right
ELLIPSOIDS = {
    "liver": ((48, 5, 20), (52, 60, 55)),
    "spleen": ((-70, -25, 30), (24, 34, 36)),
    "stomach": ((-30, 30, 35), (30, 24, 30)),
    "kidney_right": ((50, -35, -35), (22, 20, 40)),
    "kidney_left": ((-50, -35, -30), (22, 20, 40)),
    "colon": ((0, 45, -45), (60, 14, 14)),
    "vertebra": ((0, -50, 0), (18, 16, 200)),
    "aorta": ((-8, -26, 0), (9, 9, 200)),
    "inferior_vena_cava": ((14, -26, 0), (9, 9, 200)),
}


def torso_map(**without: bool) -> LabelMap:
    """Make the map; ``liver=False`` leaves the liver out."""
    x, y, z = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * SPACING for n in SHAPE), indexing="ij")
    structures = np.zeros(SHAPE, np.uint8)
    for name, (center, radii) in ELLIPSOIDS.items():
        if without.get(name, True):
            level = sum(((v - c) / r) ** 2 for v, c, r in zip((x, y, z), center, radii, strict=True))
            structures[level < 1] = STRUCTURES[name]
    affine = np.diag([SPACING] * 3 + [1.0])
    affine[:3, 3] = [-(n - 1) / 2 * SPACING for n in SHAPE]
    return LabelMap(structures, affine, "torso")
