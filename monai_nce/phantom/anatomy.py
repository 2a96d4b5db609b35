"""Lay out the anatomy of one phantom patient: what lies where, in mm, at any point of space.

The reference body is a torso between the liver's dome and the kidneys' lower poles. Its origin is the mid-line at the
height of the first lumbar vertebra, x grows to the patient's right, y to anterior, z to superior. A patient is this
body scaled in plane and along z, bent by a smooth warp, with its own fat, organ sizes, vessels, bowel loops and
lesions. Lungs, gallbladder, adrenals and ureters are left out.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from monai_nce.phantom.bowel_and_vessels import move_loops, paint_loop, sample_bowel, sample_vessels
from monai_nce.phantom.shapes import (
    Array,
    Canvas,
    Frame,
    Point,
    Texture,
    Waves,
    ellipsoid,
    smooth_curve,
    smooth_intersection,
    smooth_union,
    superellipse,
    tube,
)
from monai_nce.phantom.tissue import LABELS, TissueValues, sample_tissue_values
from monai_nce.phantom.wall import BodyWall, cavity_distance

KIDNEYS = {"left": (-68.0, -40.0, 0.0), "right": (70.0, -42.0, -14.0)}
MEDIAL = {"left": 1, "right": -1}  # sign of x towards the spine
# x, y, z and radius of points
PANCREAS_HEAD = ((30, 12, -14, 12), (27, 17, 4, 13), (10, 33, 12, 8))
PANCREAS_TAIL = ((-20, 30, 20, 9.5), (-46, 8, 28, 10), (-68, -10, 36, 8))


@dataclass(frozen=True)
class LesionKind:
    """Describe the lesions of an organ by ranges that are drawn from."""

    organ: str  # key of ``TISSUES`` that they lie in
    radius: tuple[float, float]  # mm
    hyper: tuple[float, float]  # enhancement as a share of the organ's, of those rich in vessels
    hypo: tuple[float, float]  # of the others
    contrast: tuple[float, float]  # HU above the organ without contrast medium


LESIONS = {
    "liver_lesion": LesionKind("liver", (6, 16), (1.5, 1.8), (0.05, 0.4), (-8, 4)),
    # Even a tumour rich in vessels takes less contrast than cortex in this phase.
    "kidney_lesion": LesionKind("kidney_cortex", (6, 12), (0.45, 0.7), (0.0, 0.12), (-6, 4)),
}


@dataclass(frozen=True)
class Lesion:
    """Describe an ellipsoid in an organ; ``contrast`` is its HU above the organ without contrast medium."""

    label: str
    center: Array
    radii: Array
    contrast: float
    enhancement: float


class Anatomy:
    """Draw one patient's anatomy from ``rng`` and render it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.values: TissueValues = sample_tissue_values(rng)
        fatness = rng.uniform()
        self.fat = 5 + 18 * fatness + rng.uniform(0, 3)
        width, depth = 0.87 + 0.11 * fatness + rng.uniform(0, 0.05), 0.86 + 0.16 * fatness + rng.uniform(0, 0.08)
        self.scale = np.array([width, depth, rng.uniform(0.92, 1.08)])
        self.lift = rng.uniform(-8, 8)
        self.wall = BodyWall(rng, self.fat)
        self.warp = Waves(rng, (3.5, 3.5, 4.0), (90, 170))
        fill = 1.05 - 0.1 * fatness  # organs fill less of a fat patient's wider cavity
        organs = ("liver", "spleen", *KIDNEYS, "pancreas")
        self.sizes = {name: fill * rng.uniform(0.93, 1.07) for name in organs}
        self.offsets = {name: rng.normal(size=3) * [3, 3, 6] for name in organs}
        self.left_lobe = rng.uniform(0.7, 1.1)
        self.pancreas = self._sample_pancreas(rng)
        self.bowel = sample_bowel(rng)
        self.vessels = sample_vessels(rng)
        self.lesions = self._sample_lesions(rng)
        self.texture = Texture(rng)

    def with_bowel_moved(self, rng: np.random.Generator) -> Anatomy:
        """Return the same patient after peristalsis: loops shifted and bent, gas elsewhere."""
        other = copy.copy(self)
        other.bowel = move_loops(self.bowel, rng)
        return other

    def render(self, x: Array, y: Array, z: Array, border: float) -> tuple[Array, Array, Array]:
        """Render HU without contrast, the rise in HU with contrast, and the labels, in the shape of ``x``, noise-free.

        ``x``, ``y`` and ``z`` are scanner coordinates in mm; a border mixes two tissues over ``border`` mm, a voxel's.
        """
        hu = np.full(x.shape, -1000, np.float32)
        enhancement, labels = np.zeros(x.shape, np.float32), np.zeros(x.shape, np.uint8)
        reach = np.array([150, 115, 1e4]) * self.scale + self.fat  # body and skin; beyond is air
        box = Frame(x, y, z).box(-reach, reach)
        x, y, z = (np.ascontiguousarray(values[box]) for values in (x, y, z))
        if x.size:
            canvas = Canvas(self.values, self.texture(x, y, z), border)
            self._paint(canvas, x, y, z)
            hu[box], enhancement[box], labels[box] = canvas.hu, canvas.enhancement, canvas.labels
        return hu, enhancement, labels

    def _paint(self, canvas: Canvas, x: Array, y: Array, z: Array) -> None:
        s = self.scale.astype(np.float32)
        body = Frame(x / s[0], y / s[1], z / s[2] + np.float32(self.lift))
        dx, dy, dz = self.warp(body.x, body.y, body.z)
        frame = Frame(body.x + dx, body.y + dy, body.z + dz)
        cavity = self.wall.paint_wall(canvas, body, frame)
        for loop in self.bowel:
            paint_loop(canvas, frame, cavity, loop)
        liver = smooth_intersection(self._liver((frame.x, frame.y, frame.z)), cavity + 2, 8)
        self._paint_spleen(canvas, frame, cavity)
        canvas.paint("liver", liver)
        self._paint_pancreas(canvas, frame)
        for kidney in KIDNEYS:
            self._paint_kidney(canvas, frame, cavity, kidney)
        self._paint_retroperitoneum(canvas, frame)
        self.wall.paint_spine(canvas, body)
        for vessel in self.vessels:
            vessel.paint(canvas, frame, liver)
        self._paint_lesions(canvas, frame)

    def _paint_retroperitoneum(self, canvas: Canvas, frame: Frame) -> None:
        """Paint fat around the great vessels, the psoas muscles and the crura of the diaphragm."""
        box = frame.box((-90, -115, -1e3), (90, 20, 1e3))
        x, y, z = frame.at(box)
        canvas.paint("visceral_fat", superellipse(x - 2, y + 30, (35, 26), 2.2), box)
        psoas = np.clip(0.9 - z / 130, 0.3, 1.5)
        for side in (-1, 1):
            lateral = side * x - (21 + 12 * psoas)
            distance = superellipse(lateral / psoas, (y + 46) / psoas, (12, 18), 2.2) * psoas
            canvas.paint("muscle", distance, box)
            crus = tube((x, y, z), (22 * side, -22, 130), (16 * side, -30, -30), (6.0, 3.5))
            canvas.paint("muscle", crus, box)

    def _liver(self, point: Point) -> Array:
        """Return the distance to the liver, not yet cut by the abdominal wall."""
        size, (ox, oy, oz) = self.sizes["liver"], self.offsets["liver"].tolist()
        x, y, z = point
        right = ellipsoid(point, (66 + ox, 4 + oy, 42 + oz), np.array([66, 84, 94]) * size, -0.1)
        # The visceral surface: the right lobe withdraws to the side as one goes down.
        visceral = ((22 + ox - 0.55 * (z - 30 - oz)) - x + 0.25 * (y - 10)) / 1.17
        right = smooth_intersection(right, visceral, 20)
        lobe = self.left_lobe
        left = ellipsoid(point, (-5 + ox, 46 + oy, 72 + oz), np.array([76 * lobe, 34, 46]) * size, 0.12)
        caudate = ellipsoid(point, (20.0, 6, 66 + oz), np.array([26, 24, 34]) * size)
        return smooth_union(smooth_union(right, left, 14), caudate, 12)

    def _paint_spleen(self, canvas: Canvas, frame: Frame, cavity: Array) -> None:
        center = np.array([-86, -31, 46]) + self.offsets["spleen"]
        radii = np.array([33, 46, 52]) * self.sizes["spleen"]
        box = frame.box(center - 60, center + 60)
        point = frame.at(box)
        hilum = ellipsoid(point, center + [30, 14, 0], (24, 34, 60), 0.35)
        spleen = smooth_intersection(ellipsoid(point, center, radii, 0.35), -hilum, 8)
        canvas.paint("spleen", smooth_intersection(spleen, cavity[box] + 2, 6), box)

    def _sample_pancreas(self, rng: np.random.Generator) -> Array:
        points = np.array(PANCREAS_HEAD + PANCREAS_TAIL, float)
        points[:, :3] += self.offsets["pancreas"] + rng.normal(size=(len(points), 3)) * [2, 2, 2]
        points[:, 3] *= self.sizes["pancreas"] * rng.uniform(0.95, 1.15)
        return smooth_curve(points, 6)

    def _paint_pancreas(self, canvas: Canvas, frame: Frame) -> None:
        box = frame.box(self.pancreas[:, :3].min(0) - 18, self.pancreas[:, :3].max(0) + 18)
        point = x, y, z = frame.at(box)
        distance = np.full(x.shape, 1e3, np.float32)
        for start, end in pairwise(self.pancreas):
            np.minimum(distance, tube(point, start[:3], end[:3], (start[3], end[3])), out=distance)
        lobules = 1.3 * np.sin(x / 2.6) * np.sin(y / 2.4) * np.sin(z / 3.1 + 1)
        canvas.paint("pancreas", distance + lobules, box)

    def _kidney_center(self, kidney: str) -> Array:
        return np.array(KIDNEYS[kidney]) + self.offsets[kidney]

    def _paint_kidney(self, canvas: Canvas, frame: Frame, cavity: Array, kidney: str) -> None:
        center = self._kidney_center(kidney)
        box = frame.box(center - [50, 50, 80], center + [50, 50, 80])
        x, y, z = (value - origin for value, origin in zip(frame.at(box), center.astype(np.float32), strict=True))
        x = MEDIAL[kidney] * x - np.float32(0.16) * z  # the upper pole lies nearer to the spine
        y = y + np.float32(0.12) * z
        c, s, size = np.float32(np.cos(0.5)), np.float32(np.sin(0.5)), np.float32(self.sizes[kidney])
        # first to the hilum, then to anterior, then up
        x, y, z = (c * x + s * y) / size, (c * y - s * x) / size, z / size
        radii = np.array([28, 23, 53], np.float32)
        outer = ellipsoid((x, y, z), (0, 0, 0), radii)
        level = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
        capsule = outer - np.float32(2 + 0.22 * self.fat)
        canvas.paint("visceral_fat", np.maximum(capsule, cavity[box]), box)
        canvas.paint("kidney_cortex", outer, box)
        pyramids = np.cos(4.5 * np.arctan2(1.2 * y, -x)) * np.cos(z * np.float32(2 * np.pi / 26) + 0.5)
        shell = np.maximum(level - 0.74, 0.38 - level) * 22
        canvas.paint("kidney_medulla", np.maximum(shell, (0.05 - np.abs(pyramids)) * 9), box)
        sinus = ellipsoid((x, y, z), (13, 0, 0), (21, 8.5, 25))
        canvas.paint("visceral_fat", np.maximum(sinus, capsule), box)

    def _sample_lesions(self, rng: np.random.Generator) -> list[Lesion]:
        lesions = []
        for _ in range(int(rng.integers(0, 5))):
            label = "liver_lesion" if rng.uniform() < 0.7 else "kidney_lesion"
            kind = LESIONS[label]
            shares = kind.hyper if rng.uniform() < 0.4 else kind.hypo
            own = rng.uniform(0.7, 1.3)
            radius = rng.uniform(*kind.radius)
            in_liver = label == "liver_lesion"
            center = self._sample_point_in_liver(rng, radius) if in_liver else self._sample_point_in_kidney(rng)
            enhancement = self.values.enhancement[kind.organ] * rng.uniform(*shares) * own
            contrast = rng.uniform(*kind.contrast)
            radii = radius * rng.uniform(0.8, 1.2, size=3)
            lesions.append(Lesion(label, center, radii, float(contrast), float(enhancement)))
        return lesions

    def _sample_point_in_kidney(self, rng: np.random.Generator) -> Array:
        kidney = ("left", "right")[int(rng.integers(2))]
        direction = rng.normal(size=3)
        direction[0] = -1 - abs(direction[0])  # away from the spine
        direction *= np.array([24, 20, 34]) / np.linalg.norm(direction)
        return self._kidney_center(kidney) + direction * [MEDIAL[kidney], 1, 1]

    def _sample_point_in_liver(self, rng: np.random.Generator, depth: float) -> Array:
        """Draw a point at least ``depth`` mm inside the liver, as deep as found when there is none that deep."""
        points = rng.uniform([-40, -60, -40], [115, 75, 75], size=(400, 3))
        columns = points[:, 0], points[:, 1], points[:, 2]
        distance = np.maximum(self._liver(columns), cavity_distance(columns[0], columns[1]) + 2)
        deep = np.flatnonzero(distance < -depth - 2)
        return points[deep[0] if deep.size else int(np.argmin(distance))]

    def _paint_lesions(self, canvas: Canvas, frame: Frame) -> None:
        for lesion in self.lesions:
            box = frame.box(lesion.center - lesion.radii - 4, lesion.center + lesion.radii + 4)
            distance = ellipsoid(frame.at(box), lesion.center, lesion.radii)
            distance = np.where(canvas.labels[box] != LABELS["visceral_fat"], distance, 50)
            hu = self.values.nect[LESIONS[lesion.label].organ] + lesion.contrast
            canvas.paint_hu(lesion.label, distance, hu, lesion.enhancement, box)
