from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from data_prep.geometry import Grid, body_centre, canonical, paper_grid, resample
from monai_nce.errors import InputError
from monai_nce.transforms import InPlaneSpacingd


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
    off = grid.affine @ [31.5, 31.5, 0, 1] - affine @ [20, 25, 0, 1]
    assert (abs(off) <= np.array([0.7, 0.8, 0, 0]) / 2 + 1e-9).all()  # to half a voxel
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


def moments(volume: np.ndarray, x: np.ndarray, y: np.ndarray) -> list[float]:
    """Radius of the body's area, centre and radius of gyration in mm: shifted or wider edges change one of them."""
    tissue = (volume.mean(2) + 1000).clip(0) / 1040
    mass = tissue.sum()
    centre = [(tissue * x[:, None]).sum() / mass, (tissue * y).sum() / mass]
    around = (tissue * np.hypot(x[:, None] - centre[0], y - centre[1]) ** 2).sum() / mass
    return [np.sqrt(mass * (x[1] - x[0]) * (y[1] - y[0]) / np.pi), *centre, np.sqrt(around)]


@pytest.mark.parametrize(
    ("acquired", "wanted"), [(0.667, 2.6667), (0.8, 1.3333), (0.9, 2.6667), (3.4, 2.6667), (2.0, 1.3333)]
)
@pytest.mark.parametrize("body_at", [(0.0, 0.0), (17.3, -9.1)])
def test_training_data_and_inference_have_the_same_noise_and_edges(
    acquired: float, wanted: float, body_at: tuple[float, float]
) -> None:
    """``data_prep ct`` and the preprocessing of ``inference.json``, on a noisy disc of tissue in air."""
    pixels = round(340 / acquired)
    affine = np.diag([acquired, acquired, 5.0, 1.0])
    x, y = np.meshgrid(*2 * [acquired * (np.arange(pixels) - (pixels - 1) / 2)], indexing="ij")
    distance = np.hypot(x - body_at[0], y - body_at[1])[..., None]
    noise = 20 * np.random.default_rng(0).standard_normal((pixels, pixels, 8))
    volume = np.where(distance < 120, 40 + noise, -1000).astype(np.float32)

    grid = paper_grid(volume, affine, size=round(341 / wanted), spacing=wanted)
    prepared = resample(volume, affine, grid)
    scan = MetaTensor(torch.from_numpy(volume)[None], affine=torch.from_numpy(affine))
    met = InPlaneSpacingd("image", wanted)({"image": scan})["image"]
    results = []
    for image, at in ((prepared, grid.affine), (met[0].numpy(), met.affine.numpy())):
        x, y = (at[n, n] * np.arange(image.shape[n]) + at[n, 3] - acquired * (pixels - 1) / 2 for n in (0, 1))
        inner = np.hypot(x[:, None] - body_at[0], y - body_at[1]) < 105
        results.append((image[inner].std(), moments(image, x, y)))
    (trained, one), (inferred, other) = results
    assert inferred / trained == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(one, other, atol=0.05)
    np.testing.assert_allclose(one[1:3], body_at, atol=0.1)


def test_a_rotated_volume_comes_onto_another_grid_with_the_same_noise() -> None:
    noise = 20 * np.random.default_rng(1).standard_normal((150, 150, 12)).astype(np.float32)
    angle = np.radians(7)
    turned = np.diag([0.8, 0.8, 3.0, 1.0])
    turned[:2, :2] = 0.8 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    straight = np.diag([2.2, 2.2, 3.0, 1.0])
    straight[:2, 3] = -10, 30
    one = resample(noise, turned, Grid((30, 30, 12), straight))
    other = resample(noise, np.diag([0.8, 0.8, 3.0, 1.0]), Grid((30, 30, 12), np.diag([2.2, 2.2, 3.0, 1.0])))
    assert one[5:25, 5:25].std() == pytest.approx(other[5:25, 5:25].std(), rel=0.06)
