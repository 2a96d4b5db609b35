"""Define the phantom's shapes and paint them into volumes.

A shape is a function of coordinates in mm whose value is (nearly) the signed distance in mm to the surface, negative
inside, so one patient looks the same on every grid and borders get the partial volume of their voxel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from monai_nce.phantom.tissue import LABELS, TISSUES, TissueValues

Array = np.ndarray
Box = tuple[slice, slice, slice]
Point = tuple[Array, Array, Array]  # coordinates in mm along x, y and z


class Frame:
    """Hold the coordinates in mm of every voxel, warped or not: x grows to the right, y to anterior, z to superior."""

    def __init__(self, x: Array, y: Array, z: Array) -> None:
        self.x, self.y, self.z = x, y, z
        others = ((1, 2), (0, 2), (0, 1))
        self._bounds = [(v.min(axes), v.max(axes)) for v, axes in zip((x, y, z), others, strict=True)]

    def box(self, low: Iterable[float], high: Iterable[float]) -> Box:
        """Return the smallest block of voxels, empty if need be, that holds every point between two corners."""
        slices = []
        for (minimum, maximum), first, last in zip(self._bounds, low, high, strict=True):
            hit = np.flatnonzero((maximum >= first) & (minimum <= last))
            slices.append(slice(int(hit[0]), int(hit[-1]) + 1) if hit.size else slice(0, 0))
        return slices[0], slices[1], slices[2]

    def at(self, box: Box) -> Point:
        """Return the coordinates inside a block."""
        return self.x[box], self.y[box], self.z[box]


EVERYWHERE: Box = (slice(None), slice(None), slice(None))


class Canvas:
    """Paint tissues into volumes, later ones over earlier ones; a border mixes two over ``border`` mm, the voxel's."""

    def __init__(self, values: TissueValues, texture: Array, border: float) -> None:
        self.hu = np.full(texture.shape, -1000, np.float32)
        self.enhancement = np.zeros(texture.shape, np.float32)
        self.labels = np.zeros(texture.shape, np.uint8)
        self._values, self._texture, self._border = values, texture, border

    def paint(self, tissue: str, distance: Array, box: Box = EVERYWHERE) -> None:
        """Paint a tissue of ``TISSUES`` inside a shape."""
        kind = TISSUES[tissue]
        hu = self._values.nect[tissue] + kind.texture * self._texture[box]
        self.paint_hu(kind.label, distance, hu, self._values.enhancement[tissue], box)

    def paint_hu(self, label: str, distance: Array, hu: Array | float, enhancement: float, box: Box) -> None:
        """Paint given HU inside a shape, the part of the voxel inside it taken from the distance."""
        part = distance * np.float32(-1 / self._border)
        part += np.float32(0.5)
        np.clip(part, 0, 1, out=part)
        for volume, value in ((self.hu[box], hu), (self.enhancement[box], enhancement)):
            change = value - volume
            change *= part
            volume += change
        self.labels[box][part > 0.5] = LABELS[label]


class Texture:
    """Fill space with smooth noise of unit variance: a lattice that repeats, sampled linearly."""

    SPACING, SIZE, LENGTH = 3.0, (96, 96, 64), 6.0  # mm, lattice points, standard deviation of the smoothing in mm

    def __init__(self, rng: np.random.Generator) -> None:
        noise = rng.standard_normal(self.SIZE, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, self.LENGTH / self.SPACING, mode="wrap")
        self._lattice = noise / noise.std()

    def __call__(self, x: Array, y: Array, z: Array) -> Array:
        """Return the values at points in mm."""
        points = np.stack([x, y, z]) / np.float32(self.SPACING)
        return ndimage.map_coordinates(self._lattice, points, order=1, mode="grid-wrap")


class Waves:
    """Displace points by random plane waves of two ``wavelengths`` in mm and between, of ``rms`` mm along each axis."""

    def __init__(self, rng: np.random.Generator, rms: ArrayLike, wavelengths: tuple[float, float], count: int = 6):
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        waves = directions * (2 * np.pi / rng.uniform(*wavelengths, size=(count, 1)))
        self._wave_vectors = waves.astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, size=count).astype(np.float32)
        amplitudes = rng.normal(size=(count, 3))
        amplitudes /= np.sqrt((amplitudes**2).sum(0) / 2)
        self._amplitudes = (amplitudes * np.asarray(rms)).astype(np.float32)

    def __call__(self, x: Array, y: Array, z: Array) -> Point:
        """Return the displacement in mm along x, y and z at points whose coordinates broadcast."""
        total = np.zeros((3, *np.broadcast_shapes(x.shape, y.shape, z.shape)), np.float32)
        for k, phase, amplitude in zip(self._wave_vectors, self._phases, self._amplitudes, strict=True):
            total += np.multiply.outer(amplitude, np.sin(k[0] * x + k[1] * y + (k[2] * z + phase)))
        return total[0], total[1], total[2]


def _from(point: Point, origin: ArrayLike) -> Iterator[Array]:
    """Take ``origin`` from the coordinates."""
    return (value - np.float32(start) for value, start in zip(point, np.asarray(origin), strict=True))


def ellipsoid(point: Point, center: ArrayLike, radii: ArrayLike, turn: float = 0.0) -> Array:
    """Return the distance to an ellipsoid turned by ``turn`` radians about z (first-order approximation)."""
    x, y, z = _from(point, center)
    if turn:
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = c * x + s * y, c * y - s * x
    r = np.asarray(radii, np.float32)
    x, y, z = x / r[0], y / r[1], z / r[2]
    level = np.sqrt(x * x + y * y + z * z)
    slope = np.sqrt((x / r[0]) ** 2 + (y / r[1]) ** 2 + (z / r[2]) ** 2) + np.float32(1e-6)
    return level * (level - 1) / slope


def superellipse(x: Array, y: Array, half_axes: tuple[float, float], exponent: float) -> Array:
    """Return the distance to a superellipse of the x-y plane about the origin (exact on the axes and for a circle)."""
    a, b = half_axes
    level = (np.abs(x / a) ** exponent + np.abs(y / b) ** exponent) ** (1 / exponent)
    return np.sqrt(x * x + y * y) * (1 - 1 / np.maximum(level, 1e-3))


def tube(point: Point, start: ArrayLike, end: ArrayLike, radii: tuple[float, float]) -> Array:
    """Return the distance to a round-ended cone from ``start`` to ``end`` whose radius runs between two values."""
    x, y, z = _from(point, start)
    d = (np.asarray(end) - np.asarray(start)).astype(np.float32)
    along = np.clip((x * d[0] + y * d[1] + z * d[2]) / np.float32(d @ d + 1e-9), 0, 1)
    x, y, z = x - along * d[0], y - along * d[1], z - along * d[2]
    return np.sqrt(x * x + y * y + z * z) - (radii[0] + np.float32(radii[1] - radii[0]) * along)


def tubes(frame: Frame, points: Array) -> Iterator[tuple[Box, Array]]:
    """Yield each tube of a polyline ``(N, 4)`` of x, y, z and radius: its block of voxels and the distance there."""
    for start, end in pairwise(points):
        reach = max(start[3], end[3]) + 4
        box = frame.box(np.minimum(start, end)[:3] - reach, np.maximum(start, end)[:3] + reach)
        yield box, tube(frame.at(box), start[:3], end[:3], (float(start[3]), float(end[3])))


def smooth_union(a: Array, b: Array, blend: float) -> Array:
    """Unite two shapes whose meeting edge is rounded over ``blend`` mm."""
    overlap = np.maximum(blend - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap / (4 * blend)


def smooth_intersection(a: Array, b: Array, blend: float) -> Array:
    """Intersect two shapes whose meeting edge is rounded over ``blend`` mm."""
    return -smooth_union(-a, -b, blend)


def smooth_curve(points: Array, step: float) -> Array:
    """Return points about ``step`` mm apart of a Catmull-Rom curve through ``(N, C)`` points, x, y, z first."""
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    pieces = [points[:1]]
    for before, start, end, after in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        count = max(1, round(float(np.linalg.norm((end - start)[:3])) / step))
        t = (np.arange(1, count + 1) / count)[:, None]
        square, cube = 2 * before - 5 * start + 4 * end - after, 3 * start - 3 * end + after - before
        pieces.append(0.5 * (2 * start + (end - before) * t + square * t**2 + cube * t**3))
    return np.vstack(pieces)
