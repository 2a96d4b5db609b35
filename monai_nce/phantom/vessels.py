"""Draw and paint the phantom's vessels, as tubes in mm: great vessels, the portal tree and the hepatic veins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from monai_nce.phantom.shapes import Array, Canvas, Frame, smooth_curve, tubes

THINNEST = 1.6
# tissue and x, y, z and radius of points: great vessels and their large branches outside the liver
GREAT_VESSELS: tuple[tuple[str, Sequence[Sequence[float]]], ...] = (
    ("portal_vein", [[-74, -16, 36, 3], [-45, 0, 26, 3.2], [-18, 18, 18, 3.8], [10, 22, 10, 5.5]]),
    ("portal_vein", [[9, 26, -120, 5], [9, 26, -40, 5], [11, 25, -10, 6], [12, 22, 12, 6.5]]),
    ("blood", [[-12, -8, 140, 11.5], [-10, -7, 40, 11], [-10, -6, -40, 9.5], [-9, -5, -130, 8.5]]),
    ("blood", [[-10, 2, 34, 4], [-8, 14, 32, 3.5], [-16, 22, 34, 2.8], [-40, 8, 36, 2.4]]),
    ("blood", [[-10, 2, 20, 4], [-8, 13, 12, 3.8], [-5, 20, -20, 3.6], [-4, 22, -120, 3]]),
    ("ivc", [[25, 3, 140, 14], [25, 0, 85, 13], [21, -6, 30, 12], [17, -6, -130, 10]]),
    ("ivc", [[-44, -30, 0, 4.5], [-28, -4, 4, 4.5], [-6, 8, 6, 4], [16, -4, 6, 4.5]]),
    ("ivc", [[46, -34, -12, 4.5], [32, -20, -8, 5], [20, -8, -4, 5]]),
)
PORTAL_TRUNK = ([12, 22, 12, 7], [22, 20, 26, 7], [34, 18, 40, 6.5])  # from the confluence to the porta hepatis
# tissue, x, y, z and radius of the start, end: limbs of the trees in the liver, hepatic veins from the IVC outwards
LIMBS: tuple[tuple[str, Sequence[float], Sequence[float]], ...] = (
    ("portal_vein", [34, 18, 40, 5.5], [74, 34, 60]),
    ("portal_vein", [34, 18, 40, 5.5], [80, -14, 40]),
    ("portal_vein", [34, 18, 40, 4.5], [72, 12, 10]),
    ("portal_vein", [34, 18, 40, 4.5], [4, 42, 66]),
    ("hepatic_veins", [30, 2, 90, 6], [90, -14, 64]),
    ("hepatic_veins", [28, 8, 92, 5.5], [60, 40, 60]),
    ("hepatic_veins", [22, 10, 92, 5], [-14, 46, 78]),
)


@dataclass(frozen=True)
class Vessel:
    """Describe a vessel as a polyline of tubes."""

    tissue: str  # key of ``TISSUES``
    points: Array  # ``(N, 4)``: x, y, z and radius in mm
    in_liver: bool = False  # True cuts the vessel where the liver ends

    def paint(self, canvas: Canvas, frame: Frame, liver: Array) -> None:
        """Paint the vessel; ``liver`` is the distance to the liver on the whole grid."""
        for box, distance in tubes(frame, self.points):
            canvas.paint(self.tissue, np.maximum(distance, liver[box] + 3) if self.in_liver else distance, box)


def sample_vessels(rng: np.random.Generator) -> list[Vessel]:
    """Draw one patient's vessels, painted in this order."""
    vessels = [_vessel(rng, tissue, points, 1.2) for tissue, points in GREAT_VESSELS]
    vessels.append(_vessel(rng, "portal_vein", PORTAL_TRUNK, 0))
    for tissue, start, end in LIMBS:
        span = np.array(end, float) - start[:3] + rng.normal(size=3) * 4
        length = float(np.linalg.norm(span))
        vessels += _branches(rng, tissue, np.array(start, float), span / length, length, 2)
    return vessels


def _vessel(rng: np.random.Generator, tissue: str, points: ArrayLike, jitter: float) -> Vessel:
    control = np.array(points, float)
    control[:, :3] += rng.normal(size=(len(control), 3)) * jitter
    control[:, 3] *= rng.uniform(0.9, 1.1)
    return Vessel(tissue, smooth_curve(control, 8))


def _branches(
    rng: np.random.Generator, tissue: str, start: Array, direction: Array, length: float, generations: int
) -> list[Vessel]:
    """Draw a bending branch and, from its end and middle, thinner ones; ``start`` is x, y, z and radius."""
    middle = start[:3] + direction * length / 2 + rng.normal(size=3) * length * 0.08
    end = start[:3] + direction * length
    radius, thinner = start[3], 0.72 * start[3]
    points = np.array([start, [*middle, 0.88 * radius], [*end, thinner]])
    found = [Vessel(tissue, smooth_curve(points, 8), in_liver=True)]
    if generations == 0 or thinner < THINNEST:
        return found
    for origin in (middle, end, end):
        turned = direction + rng.normal(size=3) * 0.55
        turned /= np.linalg.norm(turned)
        branch = np.array([*origin, thinner])
        found += _branches(rng, tissue, branch, turned, length * rng.uniform(0.6, 0.85), generations - 1)
    return found
