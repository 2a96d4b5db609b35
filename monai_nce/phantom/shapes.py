"""Paint implicit shapes of the abdomen phantom.

A shape is a function of coordinates in mm whose value is (nearly) the signed distance in mm to the surface, negative
inside, so one patient looks the same on every grid and borders get the partial volume of their voxel.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_nce.phantom.tissue import LABELS, TISSUES, TissueValues

Array = np.ndarray
Box = tuple[slice, slice, slice]


class Frame:
    """Hold the coordinates in mm of every voxel of a grid: x to the patient's right, y to anterior, z to superior."""

    def __init__(self, x: Array, y: Array, z: Array) -> None:
        self.x, self.y, self.z = x, y, z
        self._bounds = []
        for axis, values in enumerate((x, y, z)):
            others = tuple(other for other in range(3) if other != axis)
            self._bounds.append((values.min(others), values.max(others)))

    def box(self, low: Array, high: Array) -> Box | None:
        """Find the smallest block of voxels that holds every point between two corners, or None."""
        slices = []
        for (minimum, maximum), first, last in zip(self._bounds, low, high, strict=True):
            hit = np.flatnonzero((maximum >= first) & (minimum <= last))
            if hit.size == 0:
                return None
            slices.append(slice(int(hit[0]), int(hit[-1]) + 1))
        return slices[0], slices[1], slices[2]

    def at(self, box: Box) -> tuple[Array, Array, Array]:
        """Return the coordinates inside a block."""
        return self.x[box], self.y[box], self.z[box]


EVERYWHERE: Box = (slice(None), slice(None), slice(None))


class Canvas:
    """Paint tissues, later ones over earlier ones.

    Args:
        shape: voxels along x, y, z.
        values: HU and enhancement of each tissue.
        texture: unit-variance smooth noise in the tissue, of that shape.
        border: width in mm over which a border mixes two tissues: the voxel's own.
    """

    def __init__(self, shape: tuple[int, ...], values: TissueValues, texture: Array, border: float) -> None:
        self.hu = np.full(shape, -1000, np.float32)
        self.enhancement = np.zeros(shape, np.float32)
        self.labels = np.zeros(shape, np.uint8)
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
    """Draw a smooth displacement field: a sum of plane waves, defined everywhere.

    Args:
        rng: random generator.
        rms: root mean square in mm of each component (x, y, z).
        wavelengths: shortest and longest wavelength in mm.
        count: number of waves.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        rms: tuple[float, float, float],
        wavelengths: tuple[float, float],
        count: int = 6,
    ) -> None:
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        self._wave_vectors = directions * (2 * np.pi / rng.uniform(*wavelengths, size=(count, 1)))
        self._phases = rng.uniform(0, 2 * np.pi, size=count)
        amplitudes = rng.normal(size=(count, 3))
        amplitudes /= np.sqrt((amplitudes**2).sum(0) / 2)
        self._amplitudes = amplitudes * np.asarray(rms)

    def __call__(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        """Return the displacement in mm along x, y and z at points whose coordinates broadcast."""
        total: list[Array | float] = [0.0, 0.0, 0.0]
        for vector, phase, amplitude in zip(self._wave_vectors, self._phases, self._amplitudes, strict=True):
            k = vector.astype(np.float32)
            wave = np.sin(k[0] * x + k[1] * y + (k[2] * z + np.float32(phase)))
            for axis in range(3):
                total[axis] = total[axis] + np.float32(amplitude[axis]) * wave
        return np.asarray(total[0]), np.asarray(total[1]), np.asarray(total[2])


def ellipsoid(point: tuple[Array, Array, Array], center: Array, radii: Array, turn: float = 0.0) -> Array:
    """Return the distance to an ellipsoid turned by ``turn`` radians about z (first-order approximation)."""
    x, y, z = (value - np.float32(origin) for value, origin in zip(point, center, strict=True))
    if turn:
        c, s = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = c * x + s * y, c * y - s * x
    r = np.asarray(radii, np.float32)
    x, y, z = x / r[0], y / r[1], z / r[2]
    level = np.sqrt(x * x + y * y + z * z)
    slope = np.sqrt((x / r[0]) ** 2 + (y / r[1]) ** 2 + (z / r[2]) ** 2) + np.float32(1e-6)
    return level * (level - 1) / slope


def superellipse(x: Array, y: Array, half_axes: tuple[float, float], exponent: float) -> Array:
    """Return the distance to a superellipse of the x-y plane (exact on the axes and for a circle)."""
    a, b = half_axes
    level = (np.abs(x / a) ** exponent + np.abs(y / b) ** exponent) ** (1 / exponent)
    radius = np.sqrt(x * x + y * y)
    return radius * (1 - 1 / np.maximum(level, 1e-3))


def tube(point: tuple[Array, Array, Array], start: Array, end: Array, radii: tuple[float, float]) -> Array:
    """Return the distance to a round-ended cone from ``start`` to ``end`` whose radius runs between two values."""
    x, y, z = (value - np.float32(origin) for value, origin in zip(point, start, strict=True))
    d = (np.asarray(end) - np.asarray(start)).astype(np.float32)
    along = np.clip((x * d[0] + y * d[1] + z * d[2]) / np.float32(d @ d + 1e-9), 0, 1)
    x, y, z = x - along * d[0], y - along * d[1], z - along * d[2]
    return np.sqrt(x * x + y * y + z * z) - (radii[0] + np.float32(radii[1] - radii[0]) * along)


def smooth_union(a: Array, b: Array, blend: float) -> Array:
    """Unite two shapes, their meeting edge rounded over ``blend`` mm."""
    overlap = np.maximum(blend - np.abs(a - b), 0)
    return np.minimum(a, b) - overlap * overlap / (4 * blend)


def smooth_intersection(a: Array, b: Array, blend: float) -> Array:
    """Intersect two shapes, their meeting edge rounded over ``blend`` mm."""
    return -smooth_union(-a, -b, blend)


def smooth_curve(points: Array, step: float) -> Array:
    """Draw a Catmull-Rom curve through control points ``(N, C)`` as a polyline ``(M, C)`` of about ``step`` mm.

    The first three columns are in mm; others are carried along.
    """
    padded = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    pieces = [points[:1]]
    for before, start, end, after in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True):
        count = max(1, round(float(np.linalg.norm((end - start)[:3])) / step))
        t = (np.arange(1, count + 1) / count)[:, None]
        pieces.append(
            0.5
            * (
                2 * start
                + (end - before) * t
                + (2 * before - 5 * start + 4 * end - after) * t**2
                + (3 * start - 3 * end + after - before) * t**3
            )
        )
    return np.vstack(pieces)
