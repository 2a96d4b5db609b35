"""Give a patient a shape of its own: a random affine map and a smooth deformation of space that never folds.

A label map is one body. Seen through :class:`Shape` it becomes another one: larger or smaller, turned a little, its
organs moved and stretched, the left still on the left::

    shape = Shape(np.random.default_rng(0))
    x, y, z = shape(x, y, z)  # from points of the patient to points of the label map, mm

The deformation is the flow of a stationary velocity field, integrated by scaling and squaring: Arsigny et al., MICCAI
2006. Units are mm, axes RAS+, coordinates are about the body's centre.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

__all__ = ["PeriodicField", "Point", "Shape", "rotation", "smooth_vectors"]

Array = NDArray[np.float32]
Point = tuple[Array, Array, Array]  # coordinates in mm along x, y and z

WAVELENGTHS = (60.0, 200.0)  # mm
RMS = (2.0, 4.5)  # mm along each axis, so 3.5 to 7.8 in space; the least and the most of a patient
SCALE = (0.85, 1.2)  # of the body against the label map, along each axis
PERIOD = 576.0  # mm after which the deformation repeats: longer than a torso is wide
COARSE, FINE = 48, 144  # points of the lattice along each axis: to integrate on, to look up in
SQUARINGS = 4


class Shape:
    """Map points of a patient to points of the label map that it is made from.

    Body size varies by less than a fifth along each axis, mostly alike, as bodies do; the rotation is mostly in plane,
    as patients lie. The ranges are choices.

    Args:
        rng: source of the shape.
        rms: displacement in mm along each axis, root mean square over space; drawn from ``RMS`` if None.
    """

    def __init__(self, rng: np.random.Generator, rms: float | None = None) -> None:
        self.matrix = np.linalg.inv(_affine(rng)).astype(np.float32)
        rms = float(rng.uniform(*RMS)) if rms is None else rms
        velocity = smooth_vectors(rng, COARSE, PERIOD / COARSE, WAVELENGTHS) * np.float32(rms)
        self._displacement = PeriodicField(_flow(velocity, PERIOD / COARSE), PERIOD)

    def __call__(self, x: Array, y: Array, z: Array) -> Point:
        """Return the points of the label map; coordinates broadcast, and axes of a grid are fastest, see ``field``."""
        moved = [value + change for value, change in zip((x, y, z), self._displacement(x, y, z), strict=True)]
        a, b, c = (row[0] * moved[0] + row[1] * moved[1] + row[2] * moved[2] for row in self.matrix)
        return a, b, c


class PeriodicField:
    """Look up vectors of a smooth field that is known on a lattice and repeats after ``period`` mm.

    Args:
        vectors: ``(3, n, n, n)``, the first lattice point at 0.
        period: in mm along each axis.
    """

    def __init__(self, vectors: Array, period: float) -> None:
        self._spline = np.stack([_spline(part) for part in vectors])
        self._period = period
        self._lattice: Array | None = None

    def __call__(self, x: Array, y: Array, z: Array) -> Point:
        """Return the vectors at points whose coordinates broadcast.

        Axes of a grid, ``x`` of shape (n, 1, 1), ``y`` of (1, m, 1) and ``z`` of (1, 1, k), are interpolated by cubic
        splines, one axis after the other; other points linearly in a lattice made from these, which is nearly as exact.
        """
        if x.shape[1:] == (1, 1) and y.shape[::2] == (1, 1) and z.shape[:2] == (1, 1):
            a, b, c = self._on_grid(x.ravel(), y.ravel(), z.ravel())
            return a, b, c
        if self._lattice is None:
            axis = np.arange(FINE) * (self._period / FINE)
            self._lattice = self._on_grid(axis, axis, axis)
        places = np.stack(np.broadcast_arrays(x, y, z)) * np.float32(FINE / self._period)
        a, b, c = (ndimage.map_coordinates(part, places, order=1, mode="grid-wrap") for part in self._lattice)
        return a, b, c

    def _on_grid(self, x: Array, y: Array, z: Array) -> Array:
        vectors = self._spline
        for axis, coordinates in enumerate((x, y, z), start=1):
            weights = _spline_weights(coordinates * (vectors.shape[axis] / self._period), vectors.shape[axis])
            vectors = np.moveaxis(np.tensordot(weights, vectors, (1, axis)), 0, axis)
        return np.ascontiguousarray(vectors)


def smooth_vectors(rng: np.random.Generator, points: int, spacing: float, wavelengths: tuple[float, float]) -> Array:
    """Draw a periodic Gaussian random field of vectors that holds nothing but a range of wavelengths.

    Longer waves are higher in proportion, so that all scales stretch space alike.

    Args:
        rng: source of the field.
        points: of the lattice along each axis.
        spacing: mm between them.
        wavelengths: the shortest and the longest in mm.

    Returns:
        ``(3, points, points, points)`` float32 with a root mean square of 1 along each axis.
    """
    whole, half = fft.fftfreq(points, spacing), fft.rfftfreq(points, spacing)
    squares = whole[:, None, None] ** 2 + whole[:, None] ** 2 + half**2
    frequency = np.sqrt(squares)
    band = (frequency >= 1 / wavelengths[1]) & (frequency <= 1 / wavelengths[0])
    gain = np.where(band, np.maximum(squares, 1e-9) ** -1.25, 0).astype(np.float32)
    noise = rng.standard_normal((3, points, points, points), dtype=np.float32)
    vectors = fft.irfftn(fft.rfftn(noise, axes=(1, 2, 3)) * gain, s=(points,) * 3, axes=(1, 2, 3))
    vectors /= np.sqrt(np.square(vectors).mean((1, 2, 3), keepdims=True))
    return vectors.astype(np.float32)


def _affine(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the matrix that makes a body of the label map's."""
    size = rng.normal(0, 0.07) + rng.normal(0, 0.04, size=3)
    scale = np.diag(np.clip(np.exp(size), *SCALE))
    turn = rotation(*np.deg2rad(np.clip(rng.normal(0, (1.5, 1.5, 3.0)), -6, 6)))
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = np.clip(rng.normal(0, 0.02, size=3), -0.05, 0.05)
    return turn @ shear @ scale


def _flow(velocity: Array, spacing: float) -> Array:
    """Return the displacement that a stationary velocity leads to in unit time, both in mm on a periodic lattice."""
    here = np.indices(velocity.shape[1:], dtype=np.float32)
    displacement = velocity / np.float32(2**SQUARINGS)
    for _ in range(SQUARINGS):
        places = here + displacement / np.float32(spacing)
        displacement = displacement + np.stack(
            [
                ndimage.map_coordinates(_spline(part), places, order=3, mode="grid-wrap", prefilter=False)
                for part in displacement
            ]
        )
    return displacement


def _spline(values: Array) -> Array:
    """Return the coefficients of the periodic cubic spline through values."""
    return ndimage.spline_filter(values, order=3, output=np.float32, mode="grid-wrap")


def _spline_weights(places: Array, count: int) -> Array:
    """Return the weights ``(places, count)`` of a periodic cubic spline's coefficients at places in lattice points."""
    first = np.floor(places).astype(int)
    t = places - first
    shares = ((1 - t) ** 3, 4 - 6 * t**2 + 3 * t**3, 1 + 3 * t + 3 * t**2 - 3 * t**3, t**3)
    weights = np.zeros((len(places), count), np.float32)
    for offset, share in enumerate(shares, start=-1):
        weights[np.arange(len(places)), (first + offset) % count] += share / 6
    return weights


def rotation(about_x: float, about_y: float, about_z: float) -> NDArray[np.float64]:
    """Return the rotation by three angles in radians, about x first."""
    matrix = np.eye(3)
    for angle, (i, j) in ((about_x, (1, 2)), (about_y, (2, 0)), (about_z, (0, 1))):
        turn = np.eye(3)
        turn[[i, j], [i, j]] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix
