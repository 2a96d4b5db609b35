"""Motion between two scans: organs slide along a wall that stays, and the whole body lies elsewhere on the table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from monai_nce.virtual.motion import BREATH, ORGANS_SHARE, SHIFT, TURN, Motion, Share
from monai_nce.virtual.structures import STRUCTURES

SEEDS = range(6)
HALF = (120.0, 85.0)  # mm, half axes of the cavity of the body below
SPINE = (0.0, -65.0)  # mm, its vertebrae


def inside(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """A cavity: an upright elliptic cylinder, a vertebral column bulging into its back, borders of 3 mm."""
    level = np.sqrt((x / HALF[0]) ** 2 + (y / HALF[1]) ** 2)
    wall = np.clip((1 - level) * 85 / 3 + 0.5, 0, 1)
    spine = np.clip((np.hypot(x - SPINE[0], y - SPINE[1]) - 20) / 3 + 0.5, 0, 1)
    return np.minimum(wall, spine) * np.ones_like(z)


def closed(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The same, closed by half an ellipsoid at 60 mm and above."""
    level = np.sqrt((x / HALF[0]) ** 2 + (y / HALF[1]) ** 2 + (np.maximum(z - 60, 0) / 70) ** 2)
    return np.minimum(inside(x, y, z), np.clip((1 - level) * 70 / 3 + 0.5, 0, 1))


def grid(step: float = 6.0, height: float = 90.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.arange(-168, 169, step, dtype=np.float32)
    z = np.arange(-height, height + 1, step, dtype=np.float32)
    return x[:, None, None], x[None, :, None], z[None, None, :]


def points(*places: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = np.array(places, np.float32).T
    return x, y, z


def without_table(motion: Motion, place: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """The displacement in mm but for the rigid part, ``(3, …)``."""
    return np.stack(motion(*place, inside)) - np.stack(motion.on_table(*place))


def off_table(motion: Motion, *places: tuple[float, float, float]) -> tuple[np.ndarray, ...]:
    """Points of the acquired scan whose tissue lies at given places once the table's part is undone."""
    target = np.array(places, float) - motion.shift
    x, y, z = np.linalg.solve(motion.rotation.astype(float), target.T).astype(np.float32)
    return x, y, z


def column(x: float, y: float) -> list[tuple[float, float, float]]:
    """Points above each other: the average over them shows the breath, not the organs' own deformation."""
    return [(x, y, float(z)) for z in range(-80, 81, 20)]


@pytest.mark.parametrize("seed", SEEDS)
def test_organs_slide_along_the_wall(seed: int):
    """The liver goes with the breath, the muscle behind the border stays but for a small deformation."""
    motion = Motion(np.random.default_rng(seed))
    liver, wall = (without_table(motion, off_table(motion, *column(x, 0), *column(-x, 0))) for x in (110, 130))
    assert liver[2].mean() - wall[2].mean() == pytest.approx(motion.breath, rel=0.3, abs=1.5)
    assert np.abs(wall[2]).max() < 6


@pytest.mark.parametrize("seed", (3, 6))
def test_the_border_is_sharp_and_opens_no_gap(seed: int):
    """The whole jump lies within half a millimetre, which no smooth deformation does, and it is along the border."""
    motion = Motion(np.random.default_rng(seed))
    line = off_table(motion, *((value, 0.0, 0.0) for value in np.arange(100, 140, 0.5)))
    aside, _, along = np.abs(np.diff(without_table(motion, line), axis=1))
    border = along.argmax()
    assert along[border] > 0.5 * abs(motion.breath)
    assert np.delete(along, border).max() < 0.5
    assert aside[border] < 0.8


@pytest.mark.parametrize("seed", SEEDS)
def test_the_spine_moves_with_the_table_alone(seed: int):
    motion = Motion(np.random.default_rng(seed))
    spine = without_table(motion, off_table(motion, (0, -62, 0), (0, -66, 40), (5, -66, -40)))
    assert np.abs(spine).max() < 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_kidneys_take_half_of_the_breath(seed: int):
    motion = Motion(np.random.default_rng(seed))
    place = off_table(motion, *column(60, -45), *column(-60, -45))
    kidneys = motion(*place, inside)[2] - _still(motion, place, inside)[2]
    assert kidneys.mean() == pytest.approx(0.55 * motion.breath, rel=0.3, abs=1.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_front_of_the_belly_moves_out_when_organs_go_down(seed: int):
    motion = Motion(np.random.default_rng(seed))
    front = without_table(motion, off_table(motion, *((x, 95, z) for x in range(-40, 41, 10) for z in (-40, 0, 40))))
    if abs(motion.breath) > 8:
        assert np.sign(front[1].mean()) == -np.sign(motion.breath)
    assert abs(front[1].mean()) < 0.5 * abs(motion.breath) + 3


@pytest.mark.parametrize("seed", range(4))
def test_organs_stay_in_a_cavity_that_is_closed(seed: int):
    """Under a dome the flow follows the border: what is inside comes from inside, what is outside from outside."""
    motion = Motion(np.random.default_rng(seed))
    place = grid()
    after, before = (closed(*moved) > 0.5 for moved in (motion(*place, closed), _still(motion, place, closed)))
    np.testing.assert_array_equal(after, before)


def _still(motion: Motion, place: tuple[np.ndarray, ...], cavity: Share) -> tuple[np.ndarray, ...]:
    """A motion without its sliding: the table, the wall, the small deformation."""
    breath, motion.breath = motion.breath, 0.0
    moved = motion(*place, cavity)
    motion.breath = breath
    return moved


@pytest.mark.parametrize("seed", range(4))
def test_neither_organs_nor_wall_fold(seed: int):
    motion = Motion(np.random.default_rng(seed))
    place = grid()
    moved = motion(*place, closed)
    rows = [np.gradient(value.astype(float), 6) for value in moved]
    determinants = np.linalg.det(np.stack([np.stack(row, -1) for row in rows], -2))
    share = closed(*_still(motion, place, closed))
    for part in (share > 0.5, share <= 0.5):
        assert determinants[ndimage.binary_erosion(part, iterations=2)].min() > 0.2


def test_how_far():
    """Over many patients: ranges and averages as the literature in the module's docstring has them."""
    motions = [Motion(np.random.default_rng(seed)) for seed in range(40)]
    breaths = np.array([motion.breath for motion in motions])
    assert np.abs(breaths).min() >= BREATH[0] and np.abs(breaths).max() <= BREATH[1]
    assert 10 < np.abs(breaths).mean() < 15
    assert 0.25 < np.mean(breaths > 0) < 0.75
    shifts = np.array([motion.shift for motion in motions])
    assert np.abs(shifts).max() <= SHIFT
    assert np.linalg.norm(shifts, axis=1).mean() > 5
    turns = [np.arccos((np.trace(motion.rotation) - 1) / 2) for motion in motions]
    assert 0.01 < np.mean(turns) < np.max(turns) < np.sqrt(3) * TURN
    for motion in motions[:20]:
        np.testing.assert_allclose(motion.rotation @ motion.rotation.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(motion.rotation) == pytest.approx(1, abs=1e-5)


def test_mobility_of_organs_can_be_given():
    motion = Motion(np.random.default_rng(2))
    motion.tilt = 0.0
    place = off_table(motion, *column(80, 0), *column(-80, 0), *column(0, 40))
    still = np.stack(motion(*place, inside, lambda x, y, z: 0 * (x + y + z)))
    half = np.stack(motion(*place, inside, lambda x, y, z: 0 * (x + y + z) + 0.5))
    assert (half - still)[2].mean() == pytest.approx(motion.breath / 2, rel=0.1, abs=1)


def test_mobility_falls_towards_the_pelvis_where_organs_are_known():
    """A liver above, fat below it: the less it moves the farther down."""

    def mobility(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.where(z > 100, np.float32(1), np.float32(np.nan)) + 0 * (x + y)

    def shares(seed: int) -> np.ndarray:
        motion = Motion(np.random.default_rng(seed))
        points = ((x, y, z) for z in heights for x in (-90, -80, 80, 90) for y in range(-20, 41, 10))
        place = off_table(motion, *points)
        moved = motion(*place, inside, mobility)[2] - _still(motion, place, inside)[2]
        return moved.reshape(len(heights), -1).mean(1) / motion.breath

    heights = (150, 60, 0, -60, -120)
    mean = np.mean([shares(seed) for seed in range(3)], axis=0)  # organs also deform on their own
    assert mean[0] == pytest.approx(1, abs=0.15)
    assert all(high > low for high, low in itertools.pairwise(mean))
    assert mean[-1] < 0.45


def test_share_of_each_organ():
    share = {name: ORGANS_SHARE[value] for name, value in STRUCTURES.items()}
    assert share["liver"] == share["spleen"] == 1
    assert 0.5 <= share["kidney_right"] == share["kidney_left"] <= 0.7
    assert share["aorta"] < 0.1
    assert np.isnan([share[name] for name in ("lung", "visceral_fat", "bowel", "vertebra", "background")]).all()


def test_a_body_without_cavity_only_moves_on_the_table():
    motion = Motion(np.random.default_rng(1))
    place = grid(24)
    moved = motion(*place, lambda x, y, z: 0 * (x + y + z))
    np.testing.assert_allclose(np.stack(moved), np.stack(motion.on_table(*place)), atol=1e-4)


def test_same_seed_gives_same_motion_on_any_grid():
    """Grid axes or scattered points, all or few of them."""
    one = np.stack(Motion(np.random.default_rng(4))(*grid(12), inside))
    again = np.stack(Motion(np.random.default_rng(4))(*grid(12), inside))
    np.testing.assert_array_equal(one, again)
    scattered = [np.ascontiguousarray(value[::2, ::2]) for value in np.broadcast_arrays(*grid(12))]
    few = np.stack(Motion(np.random.default_rng(4))(*scattered, inside))
    differences = np.abs(few - one[:, ::2, ::2]).max(0)
    assert np.mean(differences > 0.5) < 0.01
