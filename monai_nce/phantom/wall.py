"""Draw and paint the phantom's wall and skeleton: skin, fat, the muscle ring, ribs and the spine, in mm."""

from __future__ import annotations

import numpy as np

from monai_nce.phantom.shapes import Array, Canvas, Frame, ellipsoid, smooth_intersection, superellipse, tube

VERTEBRA_PITCH = 34.0


def cavity_distance(x: Array, y: Array) -> Array:
    """Return the distance in mm to the abdominal cavity of the reference body."""
    return superellipse(x, y - 6, (123, 81), 2.6)


class BodyWall:
    """Draw one patient's wall and skeleton, under ``fat`` mm of subcutaneous fat."""

    def __init__(self, rng: np.random.Generator, fat: float) -> None:
        self.fat = fat
        self.outline = rng.normal(size=(4, 2)) * [[1.0, 0.4], [1.5, 0.5], [1.5, 0.6], [1.0, 0.5]]
        self.disc_phase = rng.uniform(0, VERTEBRA_PITCH)
        self.rib_phase = rng.uniform(0, 1)

    def paint_wall(self, canvas: Canvas, body: Frame, frame: Frame) -> Array:
        """Paint skin, fat, muscle and ribs of ``body``; return the distance in mm to the cavity of bent ``frame``."""
        x, y, z = body.x, body.y, body.z
        angle = np.arctan2(y, x)
        bumps = np.zeros_like(x)
        for order, (cosine, sine) in enumerate(self.outline, start=2):  # mostly left-right symmetric
            bumps += np.float32(cosine) * np.sin(order * (angle - np.float32(np.pi / 2)) + np.float32(np.pi / 2))
            bumps += np.float32(sine) * np.sin(order * (angle - np.float32(np.pi / 2)))
        furrow = 5 * np.exp(-((x / 12) ** 2)) * (y < 0)  # over the spinous processes
        muscle = superellipse(x, y, (137, 100), 2.4) + bumps + furrow.astype(np.float32)
        waist = 1 - 0.25 * np.cos(angle) ** 2 + 0.3 * np.abs(np.sin(2 * angle)) * (y < 0)  # thin flanks, thick loins
        fat = muscle - np.float32(self.fat) * waist
        cavity = cavity_distance(frame.x, frame.y) + bumps
        rectus = 4 * np.exp(-(((np.abs(x) - 32) / 20) ** 2)) * (y > 0)
        cavity += rectus.astype(np.float32)
        canvas.paint("skin", fat - 2.5)
        canvas.paint("subcutaneous_fat", fat)
        canvas.paint("muscle", muscle)
        canvas.paint("visceral_fat", cavity)
        # Ribs run forward and down inside the ring; the costal margin rises towards the front.
        turn = np.arccos(np.clip(-y / np.maximum(np.hypot(x, y), 1), -1, 1))  # 0 at the back, pi in front
        height = z + 45 * turn + 30 * np.float32(self.rib_phase)
        across = (height % 30) - 15
        inside = muscle + 7.5
        rib = (np.sqrt((across / 6.5) ** 2 + (inside / 3.5) ** 2) - 1) * 3.5
        margin = np.maximum(-25 + 50 * np.maximum(turn - 1.2, 0) - z, 80 * (0.7 - turn))
        canvas.paint("rib", np.maximum(rib, margin))
        return cavity

    def paint_spine(self, canvas: Canvas, body: Frame) -> None:
        """Paint vertebrae, discs, spinal canal and the long muscles of the back."""
        box = body.box((-72, -110, -1e3), (72, -15, 1e3))
        x, y, z = body.at(box)
        for side in (-1, 1):
            back = ellipsoid((x, y, np.zeros_like(z)), (36 * side, -80, 0), (32, 17, 1e4))
            canvas.paint("muscle", back, box)
        level = (z + np.float32(self.disc_phase)) % VERTEBRA_PITCH - VERTEBRA_PITCH / 2  # 0 at mid-body
        waist = 1.5 * (level / 12) ** 2
        column = superellipse(x, y + 40, (23, 17), 2.3) - np.minimum(waist, 2.5)
        hollow = ellipsoid((x, y, np.zeros_like(z)), (0, -58, 0), (13, 5, 1e3))
        column = smooth_intersection(column, -hollow, 4)
        vertebra = np.maximum(column, np.abs(level) - 12.5)
        arch = np.maximum(superellipse(x, y + 65, (18, 14), 2.2), np.abs(level - 2) - 10)
        left, right = (tube((x, y, level), (12 * side, -64, 3), (43 * side, -70, 3), (6.0, 4.0)) for side in (-1, 1))
        spinous = tube((x, y, level), (0, -76, -1), (0, -95, -6), (4.5, 4.0))
        canvas.paint("disc", column, box)
        for bone, shell in ((vertebra, 2.2), (arch, 2.5), (left, 2.2), (right, 2.2), (spinous, 2.2)):
            canvas.paint("cortical_bone", bone, box)
            canvas.paint("spongy_bone", bone + shell, box)
        canvas.paint("spinal_canal", superellipse(x, y + 64, (11, 8.5), 2.0), box)
