"""Paint the abdomen phantom's stomach, colon and small bowel: tubes in mm with a wall, content and rising gas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from monai_nce.phantom.shapes import Array, Canvas, Frame, smooth_curve, tube

WALL = 2.5


@dataclass(frozen=True)
class BowelLoop:
    """Hold a stretch of bowel.

    Args:
        control: ``(N, 4)`` control points of its axis: x, y, z and radius in mm.
        gas: level above which the lumen holds gas, 0 at the rearmost and 1 at the foremost point of the loop: the
            patient lies on the back, so gas rises to the front and the level is flat. Above 1 there is none.
        haustra: depth in mm of the folds along the axis.
    """

    control: Array
    gas: float
    haustra: float


def sample_bowel(rng: np.random.Generator) -> list[BowelLoop]:
    """Draw one patient's bowel, painted in this order."""
    loops = []
    for _ in range(int(rng.integers(20, 27))):
        loops.append(_sample_small_bowel(rng))
    descending = [[-98, -30, 25, 12], [-102, -28, -10, 13], [-100, -22, -60, 13], [-96, -14, -125, 13]]
    ascending = [[84, 4, -125, 21], [88, -6, -70, 22], [84, -2, -34, 19]]
    transverse = [[84, 6, -32, 17], [56, 52, -28, 16], [5, 60, -42, 16], [-55, 54, -22, 16]]
    transverse += [[-96, 4, 12, 15], [-99, -26, 26, 13]]  # to the splenic flexure
    for points, gas in ((descending, 0.75), (ascending, 0.7), (transverse, 0.78)):
        loops.append(_loop(rng, points, gas, 3.0, 3.0))
    duodenum = [[40, 24, 12, 11], [44, 8, 0, 12], [42, 2, -28, 12], [14, 6, -42, 11], [-24, 8, -36, 11]]
    loops.append(_loop(rng, duodenum, 0.95, 1.0, 2.0))
    stomach = [[-46, 2, 112, 30], [-54, 6, 80, 36], [-56, 28, 50, 30]]
    stomach += [[-34, 52, 26, 21], [6, 46, 18, 15], [34, 34, 18, 11]]  # to the pylorus
    loops.append(_loop(rng, stomach, 0.72, 1.0, 3.0))
    return loops


def _loop(rng: np.random.Generator, points: list[list[int]], gas: float, haustra: float, jitter: float) -> BowelLoop:
    control = np.array(points, float)
    control[:, :3] += rng.normal(size=(len(control), 3)) * jitter
    control[:, 3] *= rng.uniform(0.85, 1.15)
    return BowelLoop(control, gas + rng.normal() * 0.07, haustra)


def _sample_small_bowel(rng: np.random.Generator) -> BowelLoop:
    center = rng.uniform([-76, 6, -100], [66, 62, -8])
    count = 5
    steps = rng.normal(size=(count, 3)) * [22, 14, 16]
    points = np.clip(center + np.cumsum(steps, 0) - steps.mean(0), [-88, -4, -130], [72, 70, 6])
    control = np.column_stack([points, np.full(count, rng.uniform(11.5, 15.5))])
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
    if box is None:
        return
    shape = frame.x[box].shape
    offset = tuple(part.start for part in box)
    distance = np.full(shape, 1e3, np.float32)
    for start, end in zip(curve[:-1], curve[1:], strict=True):
        reach = max(start[3], end[3]) + 4
        part = frame.box(np.minimum(start, end)[:3] - reach, np.maximum(start, end)[:3] + reach)
        if part is None:
            continue
        local = tuple(slice(p.start - o, p.stop - o) for p, o in zip(part, offset, strict=True))
        found = tube(frame.at(part), start[:3], end[:3], (float(start[3]), float(end[3])))
        np.minimum(distance[local], found, out=distance[local])
    x, y, z = frame.at(box)
    distance += np.float32(loop.haustra) * np.abs(np.sin((x + y + 2 * z) / 11))
    distance = np.maximum(distance, cavity[box] + 1.5)
    canvas.paint("bowel_wall", distance, box)
    canvas.paint("bowel_content", distance + WALL, box)
    rear, front = (curve[:, 1] - curve[:, 3]).min(), (curve[:, 1] + curve[:, 3]).max()
    level = np.float32(rear + loop.gas * (front - rear))
    canvas.paint("bowel_gas", np.maximum(distance + WALL, level - y), box)
