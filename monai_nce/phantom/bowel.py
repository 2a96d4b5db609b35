"""Draw and paint the phantom's stomach, colon and small bowel: tubes in mm with a wall, content and gas that rises."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from monai_nce.phantom.shapes import Array, Canvas, Frame, smooth_curve, tubes

WALL = 2.5


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
