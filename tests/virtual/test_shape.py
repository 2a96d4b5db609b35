"""A patient's own shape: within its ranges, never folded or mirrored, the same by seed and on any grid."""

from __future__ import annotations

import numpy as np
import pytest

from monai_nce.virtual.shape import PERIOD, RMS, SCALE, PeriodicField, Shape, _affine, rotation, smooth_vectors

SEEDS = range(4)


def axes(step: float, reach: float = 240.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The axes of a cube about the centre, as they broadcast."""
    line = np.arange(-reach, reach + step / 2, step, dtype=np.float32)
    return line[:, None, None], line[None, :, None], line[None, None, :]


def jacobians(points: tuple[np.ndarray, ...], step: float) -> np.ndarray:
    """Determinants of the derivative of a map that is known on a grid of equal steps."""
    rows = [np.gradient(value.astype(float), step) for value in points]
    return np.linalg.det(np.stack([np.stack(row, -1) for row in rows], -2))


@pytest.mark.parametrize("seed", SEEDS)
def test_space_is_neither_folded_nor_mirrored(seed: int):
    determinants = jacobians(Shape(np.random.default_rng(seed))(*axes(6)), 6)
    assert determinants.min() > 0.15
    assert determinants.max() < 6


def test_the_strongest_deformation_does_not_fold():
    for seed in SEEDS:
        assert jacobians(Shape(np.random.default_rng(seed), rms=RMS[1])(*axes(6)), 6).min() > 0.1


def test_points_stay_apart():
    """Neighbours in a patient are neighbours in the map, and no closer than a few times: injective, seen finely."""
    shape = Shape(np.random.default_rng(1), rms=RMS[1])
    rng = np.random.default_rng(0)
    start = rng.uniform(-200, 200, size=(20000, 3)).astype(np.float32)
    other = start + rng.normal(0, 3, size=start.shape).astype(np.float32)
    before = np.linalg.norm(start - other, axis=1)
    after = np.linalg.norm(np.stack(shape(*start.T)) - np.stack(shape(*other.T)), axis=0)
    assert (after / before).min() > 0.15
    assert (after / before).max() < 5


def test_deformation_has_the_size_and_the_wavelengths_that_were_asked_for():
    vectors = smooth_vectors(np.random.default_rng(0), 48, PERIOD / 48, (60, 200))
    np.testing.assert_allclose(np.sqrt(np.square(vectors).mean((1, 2, 3))), 1, rtol=1e-4)
    power = np.square(np.abs(np.fft.fftn(vectors, axes=(1, 2, 3)))).sum(0)
    line = np.fft.fftfreq(48, PERIOD / 48)
    frequency = np.sqrt(sum(np.square(part) for part in np.meshgrid(line, line, line)))
    within = (frequency > 1 / 201) & (frequency < 1 / 59)
    assert power[within].sum() > 0.999 * power.sum()


@pytest.mark.parametrize("rms", RMS)
def test_displacement(rms: float):
    """The affine part taken away, what is left moves points as far as it was told, somewhat less where it is strong."""
    shape = Shape(np.random.default_rng(3), rms=rms)
    grid = np.broadcast_arrays(*axes(12, 288 - 12))
    back = np.linalg.inv(shape.matrix.astype(float))
    moved = np.tensordot(back, np.stack(shape(*axes(12, 288 - 12))), 1) - np.stack(grid)
    assert np.sqrt(np.square(moved).mean()) == pytest.approx(rms, rel=0.25)


def test_size_of_bodies():
    """The scale of each axis is in its range, and a body that is large along one axis is mostly large along others."""
    scales = []
    for seed in range(200):
        matrix = _affine(np.random.default_rng(seed))
        scales.append(np.linalg.norm(matrix, axis=0))
        assert np.linalg.det(matrix) > 0
    scales = np.array(scales)
    assert scales.min() > SCALE[0] - 0.02 and scales.max() < SCALE[1] + 0.02
    assert scales.min() < 0.92 and scales.max() > 1.1
    assert np.corrcoef(scales.T)[0, 1] > 0.4


def test_grid_and_scattered_points_agree():
    """Splines along a grid's axes, and linear look-up elsewhere."""
    shape = Shape(np.random.default_rng(5), rms=RMS[1])
    grid = axes(17, 200)
    scattered = shape(*(np.ascontiguousarray(value) for value in np.broadcast_arrays(*grid)))
    for one, other in zip(shape(*grid), scattered, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=0.3)


def test_field_passes_through_its_values_and_repeats():
    vectors = np.random.default_rng(0).normal(size=(3, 12, 12, 12)).astype(np.float32)
    field = PeriodicField(vectors, period=120)
    line = np.arange(12, dtype=np.float32) * 10
    for shift in (0, 120, -240):
        found = np.stack(field(line[:, None, None] + shift, line[None, :, None], line[None, None, :]))
        np.testing.assert_allclose(found, vectors, atol=1e-3)


def test_same_seed_gives_same_shape_and_another_does_not():
    grid = axes(60)
    first, again, other = (np.stack(Shape(np.random.default_rng(seed))(*grid)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 3


def test_rotation_is_about_the_axes_that_its_angles_name():
    np.testing.assert_allclose(rotation(0, 0, np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(np.pi / 2, 0, 0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(0, np.pi / 2, 0) @ [0, 0, 1], [1, 0, 0], atol=1e-12)
