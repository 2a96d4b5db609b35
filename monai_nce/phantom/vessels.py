"""Draw the abdomen phantom's great vessels, portal tree and hepatic veins, as tubes in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monai_nce.phantom.shapes import Array, Canvas, Frame, smooth_curve, tube

THINNEST = 1.6


@dataclass(frozen=True)
class Vessel:
    """Hold a polyline of tubes.

    Args:
        tissue: key of ``TISSUES``.
        points: ``(N, 4)``: x, y, z and radius in mm.
        in_liver: True cuts the vessel where the liver ends.
    """

    tissue: str
    points: Array
    in_liver: bool = False

    def paint(self, canvas: Canvas, frame: Frame, liver: Array) -> None:
        """Paint the vessel; ``liver`` is the distance to the liver on the whole grid."""
        for start, end in zip(self.points[:-1], self.points[1:], strict=True):
            reach = max(start[3], end[3]) + 4
            box = frame.box(np.minimum(start, end)[:3] - reach, np.maximum(start, end)[:3] + reach)
            if box is None:
                continue
            distance = tube(frame.at(box), start[:3], end[:3], (float(start[3]), float(end[3])))
            if self.in_liver:
                distance = np.maximum(distance, liver[box] + 3)
            canvas.paint(self.tissue, distance, box)


def _vessel(rng: np.random.Generator, tissue: str, points: list[list[float]], jitter: float = 1.2) -> Vessel:
    control = np.array(points, float)
    control[:, :3] += rng.normal(size=(len(control), 3)) * jitter
    control[:, 3] *= rng.uniform(0.9, 1.1)
    return Vessel(tissue, smooth_curve(control, 8))


def fixed_vessels(rng: np.random.Generator) -> list[Vessel]:
    """Draw the great vessels and their large branches outside the liver."""
    return [
        _vessel(rng, "portal_vein", [[-74, -16, 36, 3], [-45, 0, 26, 3.2], [-18, 18, 18, 3.8], [10, 22, 10, 5.5]]),
        _vessel(rng, "portal_vein", [[9, 26, -120, 5], [9, 26, -40, 5], [11, 25, -10, 6], [12, 22, 12, 6.5]]),
        _vessel(rng, "blood", [[-12, -8, 140, 11.5], [-10, -7, 40, 11], [-10, -6, -40, 9.5], [-9, -5, -130, 8.5]]),
        _vessel(rng, "blood", [[-10, 2, 34, 4], [-8, 14, 32, 3.5], [-16, 22, 34, 2.8], [-40, 8, 36, 2.4]]),
        _vessel(rng, "blood", [[-10, 2, 20, 4], [-8, 13, 12, 3.8], [-5, 20, -20, 3.6], [-4, 22, -120, 3]]),
        _vessel(rng, "ivc", [[25, 3, 140, 14], [25, 0, 85, 13], [21, -6, 30, 12], [17, -6, -130, 10]]),
        _vessel(rng, "ivc", [[-44, -30, 0, 4.5], [-28, -4, 4, 4.5], [-6, 8, 6, 4], [16, -4, 6, 4.5]]),
        _vessel(rng, "ivc", [[46, -34, -12, 4.5], [32, -20, -8, 5], [20, -8, -4, 5]]),
    ]


def _branches(
    rng: np.random.Generator, tissue: str, start: Array, direction: Array, length: float, generations: int
) -> list[Vessel]:
    """Draw a bending branch and, from its end and middle, thinner ones; ``start`` is x, y, z and radius."""
    middle = start[:3] + direction * length / 2 + rng.normal(size=3) * length * 0.08
    end = start[:3] + direction * length
    radius = start[3]
    points = np.array([[*start[:3], radius], [*middle, 0.88 * radius], [*end, 0.72 * radius]])
    found = [Vessel(tissue, smooth_curve(points, 8), in_liver=True)]
    thinner = 0.72 * radius
    if generations == 0 or thinner < THINNEST:
        return found
    for origin in (middle, end, end):
        turned = direction + rng.normal(size=3) * 0.55
        turned /= np.linalg.norm(turned)
        branch = np.array([*origin, thinner])
        found += _branches(rng, tissue, branch, turned, length * rng.uniform(0.6, 0.85), generations - 1)
    return found


def _tree(rng: np.random.Generator, tissue: str, limbs: list[tuple[list[float], list[float]]]) -> list[Vessel]:
    vessels: list[Vessel] = []
    for start, end in limbs:
        origin = np.array(start, float)
        span = np.array(end, float) - origin[:3] + rng.normal(size=3) * 4
        length = float(np.linalg.norm(span))
        vessels += _branches(rng, tissue, origin, span / length, length, 2)
    return vessels


def portal_tree(rng: np.random.Generator) -> list[Vessel]:
    """Draw the portal trunk from the confluence to the porta hepatis and its branches in the liver."""
    trunk = _vessel(rng, "portal_vein", [[12, 22, 12, 7], [22, 20, 26, 7], [34, 18, 40, 6.5]], 0)
    limbs: list[tuple[list[float], list[float]]] = [
        ([34, 18, 40, 5.5], [74, 34, 60]),
        ([34, 18, 40, 5.5], [80, -14, 40]),
        ([34, 18, 40, 4.5], [72, 12, 10]),
        ([34, 18, 40, 4.5], [4, 42, 66]),
    ]
    return [trunk, *_tree(rng, "portal_vein", limbs)]


def hepatic_tree(rng: np.random.Generator) -> list[Vessel]:
    """Draw the three hepatic veins, from the inferior vena cava outwards."""
    limbs: list[tuple[list[float], list[float]]] = [
        ([30, 2, 90, 6], [90, -14, 64]),
        ([28, 8, 92, 5.5], [60, 40, 60]),
        ([22, 10, 92, 5], [-14, 46, 78]),
    ]
    return _tree(rng, "hepatic_veins", limbs)
