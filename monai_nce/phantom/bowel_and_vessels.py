"""Draw and paint the phantom's tubes, in mm: stomach and bowel with a wall, content and rising gas, and vessels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from monai_nce.phantom.shapes import Array, Canvas, Frame, smooth_curve, tubes

WALL = 2.5  # of the bowel, mm
THINNEST = 1.6  # radius of a vessel that branches no more, mm
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
class BowelLoop:
    """Describe a stretch of bowel.

    The patient lies on the back, so gas rises to the front and its level is flat: 0 is the rearmost and 1 the foremost
    point of the loop, and the lumen holds gas above ``gas``; above 1 there is none.
    """

    control: Array  # ``(N, 4)`` control points of its axis: x, y, z and radius in mm
    gas: float
    haustra: float  # depth in mm of the folds along the axis


def sample_bowel(rng: np.random.Generator) -> list[BowelLoop]:
    """Draw one patient's bowel, painted in this order."""
    loops = [_sample_small_bowel(rng) for _ in range(int(rng.integers(20, 27)))]
    descending = [[-98, -30, 25, 12], [-102, -28, -10, 13], [-100, -22, -60, 13], [-96, -14, -125, 13]]
    ascending = [[84, 4, -125, 21], [88, -6, -70, 22], [84, -2, -34, 19]]
    transverse = [[84, 6, -32, 17], [56, 52, -28, 16], [5, 60, -42, 16], [-55, 54, -22, 16]]
    transverse += [[-96, 4, 12, 15], [-99, -26, 26, 13]]  # to the splenic flexure
    duodenum = [[40, 24, 12, 11], [44, 8, 0, 12], [42, 2, -28, 12], [14, 6, -42, 11], [-24, 8, -36, 11]]
    stomach = [[-46, 2, 112, 30], [-54, 6, 80, 36], [-56, 28, 50, 30]]
    stomach += [[-34, 52, 26, 21], [6, 46, 18, 15], [34, 34, 18, 11]]  # to the pylorus
    colon = (descending, 0.75, 3, 3), (ascending, 0.7, 3, 3), (transverse, 0.78, 3, 3)
    for points, gas, haustra, jitter in (*colon, (duodenum, 0.95, 1, 2), (stomach, 0.72, 1, 3)):
        control = np.array(points, float)
        control[:, :3] += rng.normal(size=(len(control), 3)) * jitter
        control[:, 3] *= rng.uniform(0.85, 1.15)
        loops.append(BowelLoop(control, gas + rng.normal() * 0.07, haustra))
    return loops


def _sample_small_bowel(rng: np.random.Generator) -> BowelLoop:
    center = rng.uniform([-76, 6, -100], [66, 62, -8])
    steps = rng.normal(size=(5, 3)) * [22, 14, 16]
    points = np.clip(center + np.cumsum(steps, 0) - steps.mean(0), [-88, -4, -130], [72, 70, 6])
    control = np.column_stack([points, np.full(len(points), rng.uniform(11.5, 15.5))])
    return BowelLoop(control, rng.uniform(0.7, 1.3), 0.8)


def move_loops(loops: list[BowelLoop], rng: np.random.Generator) -> list[BowelLoop]:
    """Return the same loops some minutes later: shifted, bent, and with other gas."""
    moved = []
    for loop in loops:
        control = loop.control.copy()
        control[:, :3] += rng.normal(size=3) * 3 + rng.normal(size=(len(control), 3)) * 2.5
        moved.append(replace(loop, control=control, gas=loop.gas + rng.normal() * 0.05))
    return moved


def paint_loop(canvas: Canvas, frame: Frame, cavity: Array, loop: BowelLoop) -> None:
    """Paint wall, content and gas of one loop inside the abdominal cavity."""
    curve = smooth_curve(loop.control, 9)
    reach = float(curve[:, 3].max()) + 4
    box = frame.box(curve[:, :3].min(0) - reach, curve[:, :3].max(0) + reach)
    x, y, z = frame.at(box)
    distance = np.full(x.shape, 1e3, np.float32)
    for part, found in tubes(frame, curve):
        local = tuple(slice(p.start - whole.start, p.stop - whole.start) for p, whole in zip(part, box, strict=True))
        np.minimum(distance[local], found, out=distance[local])
    distance += np.float32(loop.haustra) * np.abs(np.sin((x + y + 2 * z) / 11))
    distance = np.maximum(distance, cavity[box] + 1.5)
    canvas.paint("bowel_wall", distance, box)
    canvas.paint("bowel_content", distance + WALL, box)
    rear, front = (curve[:, 1] - curve[:, 3]).min(), (curve[:, 1] + curve[:, 3]).max()
    level = np.float32(rear + loop.gas * (front - rear))
    canvas.paint("bowel_gas", np.maximum(distance + WALL, level - y), box)


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
