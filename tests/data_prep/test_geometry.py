from __future__ import annotations

import itertools

import numpy as np
import pytest

from data_prep.geometry import Grid, body_centre, canonical, paper_grid, resample
from monai_nce.errors import InputError


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_canonical_keeps_every_voxel_at_its_place(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(order)] * signs * np.array([0.7, 0.8, 2.5])
    affine[:3, 3] = 11, -7, 5
    volume = np.arange(60.0).reshape(3, 4, 5)
    turned, after = canonical(volume, affine)
    assert (np.diag(after)[:3] > 0).all()
    for voxel in np.ndindex(volume.shape):
        world = affine @ [*voxel, 1]
        index = np.rint(np.linalg.solve(after, world))[:3].astype(int)
        assert turned[tuple(index)] == volume[voxel]


def test_the_body_is_the_largest_part() -> None:
    volume = np.full((40, 30, 6), -1000.0)
    volume[5:20, 8:14, 1:4] = 40
    volume[30:38, 26, :] = 500  # the table
    np.testing.assert_array_equal(body_centre(volume), [12, 10.5, 2])


def test_no_body_is_refused() -> None:
    with pytest.raises(InputError, match="no body found"):
        body_centre(np.full((4, 4, 4), -900.0))


def test_the_grid_is_centred_and_keeps_the_slices() -> None:
    affine = np.array([[0.7, 0, 0, -100], [0, 0.8, 0, 50], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])
    volume = np.full((60, 50, 4), -1000.0)
    volume[10:31, 20:31] = 40
    grid = paper_grid(volume, affine, size=64, spacing=1.25)
    assert grid.shape == (64, 64, 4)
    np.testing.assert_allclose(np.diag(grid.affine), [1.25, 1.25, 2.5, 1])
    np.testing.assert_allclose(grid.affine @ [31.5, 31.5, 0, 1], affine @ [20, 25, 0, 1])
    np.testing.assert_allclose((grid.affine @ [0, 0, 3, 1])[2], (affine @ [0, 0, 3, 1])[2])


def test_a_tilted_head_keeps_its_own_axes() -> None:
    angle = np.radians(10)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array([1, 1, 3.0])
    volume = np.full((20, 20, 3), -1000.0)
    volume[5:15, 5:15] = 30
    grid = paper_grid(volume, affine, size=40, spacing=0.5)
    np.testing.assert_allclose(grid.affine[:3, :3], turn * [0.5, 0.5, 3])
    inner = resample(volume, affine, grid)[12:28, 12:28]
    np.testing.assert_allclose(inner, 30, atol=1e-3)


@pytest.mark.parametrize("degrees", [1, 20])
def test_a_gantry_tilt_is_carried_through(degrees: float) -> None:
    """Values are a linear function of the position, so that they tell where a voxel was taken from."""
    affine = np.array([[-0.8, 0, 0, 40], [0, -0.8, 0, 30], [0, 0, 3, -20], [0, 0, 0, 1.0]])
    affine[1:3, 1] = -0.8 * np.cos(np.radians(degrees)), 0.8 * np.sin(np.radians(degrees))

    def values(grid: Grid) -> np.ndarray:
        x, y, z = (
            np.einsum("ij,jxyz->ixyz", grid.affine[:3, :3], np.indices(grid.shape))
            + grid.affine[:3, 3, None, None, None]
        )
        return x - 2 * y + 3 * z

    tilted = Grid((100, 80, 12), affine)
    volume, after = canonical(values(tilted), affine)
    own = paper_grid(volume, after, size=32, spacing=1.6)
    np.testing.assert_allclose(own.affine[:3, 2], after[:3, 2])
    np.testing.assert_allclose(resample(volume, after, own)[4:-4, 4:-4], values(own)[4:-4, 4:-4], atol=0.01)
    straight = Grid((20, 20, 6), np.array([[1.0, 0, 0, -10], [0, 1, 0, -12], [0, 0, 2, 0], [0, 0, 0, 1]]))
    np.testing.assert_allclose(resample(volume, after, straight), values(straight), atol=0.01)


def test_the_same_grid_changes_nothing() -> None:
    volume = np.random.default_rng(0).uniform(-1000, 1000, (7, 8, 5)).astype(np.float32)
    affine = np.array([[0.7, 0, 0, -100.3], [0, 0.8, 0, 50.1], [0, 0, 2.5, -804.5], [0, 0, 0, 1]])
    np.testing.assert_allclose(resample(volume, affine, Grid((7, 8, 5), affine)), volume, atol=0.01)


def test_outside_is_air() -> None:
    moved = np.eye(4)
    moved[0, 3] = 100
    assert (resample(np.zeros((4, 4, 4)), np.eye(4), Grid((4, 4, 4), moved)) == -1024).all()


def test_reducing_does_not_alias() -> None:
    """A pattern finer than the new pixels turns into its mean, not into a beat."""
    volume = np.zeros((120, 20, 3), np.float32)
    volume[::2] = 100
    affine = np.diag([0.5, 1.0, 2.0, 1.0])
    reduced = resample(volume, affine, Grid((40, 16, 3), np.diag([1.3, 1.0, 2.0, 1.0])))
    assert abs(reduced[3:-3] - 50).max() < 8  # 50 without the Gaussian
    np.testing.assert_array_equal(reduced[:, 0], reduced[:, 1])
