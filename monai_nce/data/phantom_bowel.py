"""Stomach, colon and small bowel of the abdomen phantom: tubes in mm with a wall, content and gas that rises."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from monai_nce.data.phantom_shapes import Array, Canvas, Frame, smooth_curve, tube

WALL = 2.5


@dataclass(frozen=True)
class BowelLoop:
    """A stretch of bowel.

    Args:
        control: ``(N, 4)`` control points of its axis: x, y, z and radius in mm.
        gas: ``(N,)`` height of the gas level above the axis at each control point, as a share of the radius; the
            patient lies on the back, so gas collects in front. Above 1 there is none.
        haustra: depth in mm of the folds along the axis.
    """

    control: Array
    gas: Array
    haustra: float


def sample_bowel(rng: np.random.Generator) -> list[BowelLoop]:
    """Draw one patient's bowel, painted in this order."""
    loops = []
    for _ in range(int(rng.integers(18, 24))):
        loops.append(_sample_small_bowel(rng))
    descending = [[-98, -30, 25, 12], [-102, -28, -10, 13], [-100, -22, -60, 13], [-96, -14, -125, 13]]
    ascending = [[84, 4, -125, 21], [88, -6, -70, 22], [84, -2, -34, 19]]
    transverse = [[84, 6, -32, 17], [56, 52, -28, 16], [5, 60, -42, 16], [-55, 54, -22, 16], [-96, 4, 12, 15], [-99, -26, 26, 13]]
    for points, gas in ((descending, 1.0), (ascending, 0.5), (transverse, 0.1)):
        loops.append(_loop(rng, points, gas, 3.0, 3.0))
    duodenum = [[40, 24, 12, 11], [44, 8, 0, 12], [42, 2, -28, 12], [14, 6, -42, 11], [-24, 8, -36, 11]]
    loops.append(_loop(rng, duodenum, 1.0, 1.0, 2.0))
    stomach = [[-48, 6, 110, 26], [-56, 12, 78, 33], [-58, 30, 50, 28], [-34, 52, 26, 21], [6, 46, 18, 15], [34, 34, 18, 11]]
    loops.append(_loop(rng, stomach, 0.35, 0.5, 3.0))
    return loops


def _loop(
    rng: np.random.Generator, points: list[list[float]], gas: float, haustra: float, jitter: float
) -> BowelLoop:
    control = np.array(points, float)
    control[:, :3] += rng.normal(size=(len(control), 3)) * jitter
    control[:, 3] *= rng.uniform(0.85, 1.15)
    return BowelLoop(control, gas + rng.normal(size=len(control)) * 0.35, haustra)


def _sample_small_bowel(rng: np.random.Generator) -> BowelLoop:
    center = rng.uniform([-72, 8, -110], [60, 62, -8])
    count = 5
    steps = rng.normal(size=(count, 3)) * [22, 14, 16]
    points = np.clip(center + np.cumsum(steps, 0) - steps.mean(0), [-82, 0, -150], [66, 70, 6])
    control = np.column_stack([points, np.full(count, rng.uniform(11, 15))])
    return BowelLoop(control, rng.normal(size=count) * 0.45 + 1.0, 0.8)


def move_loops(loops: list[BowelLoop], rng: np.random.Generator) -> list[BowelLoop]:
    """The same loops some minutes later: shifted, bent, and with other gas."""
    moved = []
    for loop in loops:
        control = loop.control.copy()
        control[:, :3] += rng.normal(size=3) * 3 + rng.normal(size=(len(control), 3)) * 2.5
        moved.append(replace(loop, control=control, gas=loop.gas + rng.normal(size=len(loop.gas)) * 0.3))
    return moved


def paint_loop(canvas: Canvas, frame: Frame, cavity: Array, loop: BowelLoop) -> None:
    """Paint wall, content and gas of one loop inside the abdominal cavity."""
    curve = smooth_curve(np.column_stack([loop.control, loop.gas]), 9)
    reach = float(curve[:, 3].max()) + 4
    box = frame.box(curve[:, :3].min(0) - reach, curve[:, :3].max(0) + reach)
    if box is None:
        return
    shape = frame.x[box].shape
    offset = tuple(part.start for part in box)
    distance = np.full(shape, 1e3, np.float32)
    level = np.full(shape, 1e3, np.float32)
    for start, end in zip(curve[:-1], curve[1:], strict=True):
        part = frame.box(np.minimum(start, end)[:3] - reach, np.maximum(start, end)[:3] + reach)
        if part is None:
            continue
        local = tuple(slice(p.start - o, p.stop - o) for p, o in zip(part, offset, strict=True))
        point = frame.at(part)
        found = tube(point, start[:3], end[:3], (float(start[3]), float(end[3])))
        nearer = found < distance[local]
        surface = np.float32((start[1] + end[1]) / 2 + (start[4] + end[4]) / 2 * (start[3] + end[3]) / 2)
        distance[local][nearer] = found[nearer]
        level[local][nearer] = (surface - point[1])[nearer]
    x, y, z = frame.at(box)
    distance += np.float32(loop.haustra) * np.abs(np.sin((x + y + 2 * z) / 11))
    distance = np.maximum(distance, cavity[box] + 1.5)
    canvas.paint("bowel_wall", distance, box)
    canvas.paint("bowel_content", distance + WALL, box)
    canvas.paint("bowel_gas", np.maximum(distance + WALL, level), box)
