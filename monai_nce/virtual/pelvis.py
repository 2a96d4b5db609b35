"""Make the lower pelvis of a label map that ends above it: hip joints, bladder, rectum, muscles, great vessels.

Many segmented CTs end at the iliac wings. Without hips and thighs in its training a network takes the muscles there for
organs. Shapes are ellipsoids and tubes, placed by width and depth of the map's lowest slices; proportions are choices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from monai_nce.phantom.shapes import ellipsoid, tube
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["add_pelvis", "lacks_pelvis"]

HEIGHT = 130.0  # mm that is made
LOWEST = 12.0  # mm at the map's end that are looked at
TRUNK = ("muscle", "bone", "vertebra")

Field = NDArray[np.float32]


def lacks_pelvis(structures: NDArray[np.uint8], spacing: float) -> bool:
    """Tell whether a map ends between the iliac wings: bone far to both sides of the spine, and no bladder."""
    lowest = structures[:, :, : round(LOWEST / spacing)]
    bones = np.flatnonzero((lowest == STRUCTURES["bone"]).any((1, 2)))
    spine = np.flatnonzero((lowest == STRUCTURES["vertebra"]).any((1, 2)))
    if not len(bones) or not len(spine) or (structures == STRUCTURES["urinary_bladder"]).any():
        return False
    middle = spine.mean()
    return bool((middle - bones[0]) * spacing > 60 and (bones[-1] - middle) * spacing > 60)


def add_pelvis(structures: NDArray[np.uint8], spacing: float) -> NDArray[np.uint8]:
    """Return a map with the lower pelvis below its lowest slice.

    Args:
        structures: (X, Y, Z) RAS+, for which :func:`lacks_pelvis` is true.
        spacing: mm of its isotropic grid.
    """
    count = round(HEIGHT / spacing)
    lowest = structures[:, :, : round(LOWEST / spacing)]
    trunk = np.argwhere(np.isin(lowest, [STRUCTURES[name] for name in TRUNK]).any(2))
    (left, back), (right, front) = trunk.min(0) * spacing, trunk.max(0) * spacing
    wide, deep = right - left, max(front - back, 0.55 * (right - left))
    middle = np.array([(left + right) / 2, back + deep / 2, 0.0])
    x, y, z = np.meshgrid(
        *(np.arange(n, dtype=np.float32) * np.float32(spacing) for n in structures.shape[:2]),
        np.arange(count, 0, -1, dtype=np.float32) * np.float32(spacing),  # mm below the map
        indexing="ij",
        sparse=True,
    )
    below = np.zeros((*structures.shape[:2], count), np.uint8)
    point = x, y, z

    def at(side: float, ahead: float, down: float) -> NDArray[np.float64]:
        """Return a point by shares of width and depth from the middle, and mm below the map."""
        return middle + [side * wide, ahead * deep, down]

    def paint(name: str, distance: Field) -> None:
        below[np.broadcast_to(distance < 0, below.shape)] = STRUCTURES[name]

    def ball(name: str, center: NDArray[np.float64], radii: tuple[float, float, float]) -> None:
        paint(name, ellipsoid(point, center, radii))

    outline = ((x - middle[0]) / (wide / 2)) ** 2 + ((y - middle[1]) / (deep / 2)) ** 2
    below[np.broadcast_to(outline < 1.05, below.shape)] = STRUCTURES["muscle"]
    ball("visceral_fat", at(0, 0.02, 20), (0.22 * wide, 0.33 * deep, 85))
    for side in (-1, 1):
        ball("visceral_fat", at(side * 0.11, -0.33, 105), (0.07 * wide, 0.13 * deep, 30))
    ball("colon", at(0, -0.16, 30), (16, 15, 75))
    ball("uterus", at(0, -0.02, 40), (28, 18, 26))
    ball("prostate", at(0, 0.02, 84), (22, 17, 16))
    ball("urinary_bladder", at(0, 0.15, 48), (40, 28, 30))
    ball("vertebra", at(0, -0.36, 0), (36, 16, 62))
    for side in (-1, 1):
        head = at(side * 0.28, 0.03, 60)
        hip = {
            "socket": (at(side * 0.25, 0.03, 54), (30, 32, 40)),
            "ischium": (at(side * 0.19, -0.13, 96), (13, 17, 34)),
        }
        for center, radii in hip.values():
            ball("bone", center, radii)
        paint("bone", tube(point, at(side * 0.27, 0.0, 0), at(side * 0.26, 0.03, 50), (14.0, 24.0)))  # ilium
        paint("bone", tube(point, at(side * 0.18, 0.22, 74), at(side * 0.015, 0.27, 88), (10.0, 9.0)))  # pubis
        ball("costal_cartilage", head, (26, 26, 26))
        ball("bone", head, (24, 24, 24))
        paint("bone", tube(point, head, at(side * 0.39, 0.0, 88), (16.0, 17.0)))  # femur
        paint("bone", tube(point, at(side * 0.39, 0.0, 86), at(side * 0.37, 0.03, 150), (17.0, 13.0)))
        for name, shift, radius in (("artery", 0.0, 4.5), ("vein", -0.03, 6.0)):
            start, end = at(side * (0.17 + shift), 0.17 + shift, -6), at(side * (0.2 + shift), 0.42 + shift, 90)
            paint(name, tube(point, start, end, (radius, radius)))
            paint(name, tube(point, end, at(side * (0.22 + shift), 0.4 + shift, 150), (radius, radius)))
    return np.concatenate([below, structures], axis=2)
