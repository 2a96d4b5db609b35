"""Tests of the muscles that are made between kidneys and back."""

from __future__ import annotations

import numpy as np
import pytest

from monai_nce.virtual.lumbar import lumbar_muscles
from monai_nce.virtual.structures import STRUCTURES

SPACING = 2.0


def back() -> np.ndarray:
    """Return a wall of muscle 40 mm deep, a spine of 40 × 80 mm in its middle, two kidneys 60 mm before the back."""
    structures = np.full((100, 60, 60), STRUCTURES["visceral_fat"], np.uint8)
    structures[:, :20] = STRUCTURES["muscle"]
    structures[40:60, :40] = STRUCTURES["vertebra"]
    structures[66:80, 30:45, 10:50] = STRUCTURES["kidney_right"]
    structures[20:34, 30:45, 10:50] = STRUCTURES["kidney_left"]
    return structures


def test_they_lie_on_the_back_as_thick_as_asked_and_alike_on_both_sides() -> None:
    found = lumbar_muscles(back(), SPACING, near=0.0, far=10.0)
    np.testing.assert_array_equal(found, found[::-1])
    lowest = found[:, :, found.any((0, 1)).argmax()]
    thickness = lowest[60:].sum(1).max() * SPACING  # beside the spine they lie on it as well
    assert found[70:, 20:24].any()  # on the wall
    assert not found[70:, 25:].any()
    assert thickness >= 8
    assert not found[:11].any() and not found[89:].any()  # 78 mm from the middle, at most
    assert not found[:, 37:].any()  # 8 mm behind the spine's front, or more


def test_only_fat_becomes_muscle_and_a_rim_stays_around_the_kidneys() -> None:
    structures = back()
    found = lumbar_muscles(structures, SPACING, near=0.0, far=60.0)
    assert (structures[found] == STRUCTURES["visceral_fat"]).all()
    for kidney in (np.s_[65:81, 30:45, 10:50], np.s_[66:80, 29:46, 10:50], np.s_[66:80, 30:45, 9:51]):
        assert not found[kidney].any()
    assert found[70, 25, 10:30].any()


def test_fat_stays_between_them_and_the_wall() -> None:
    near, far = (lumbar_muscles(back(), SPACING, near=gap, far=12.0)[72:] for gap in (0.0, 3.0))
    assert near[:, 20].any()
    assert not far[:, 20].any()
    assert far[:, 21:].any()


def test_they_end_below_the_tops_of_the_kidneys_and_taper() -> None:
    heights = np.flatnonzero(lumbar_muscles(back(), SPACING, near=0.0, far=15.0).any((0, 1)))
    assert (heights[0], heights[-1]) == (0, 34)  # 20 mm below 10 × 2 mm; 30 mm below 49 × 2 mm
    counts = lumbar_muscles(back(), SPACING, near=0.0, far=15.0).sum((0, 1))
    assert counts[2] > 1.5 * counts[33]


@pytest.mark.parametrize("lacking", [("kidney_right", "kidney_left"), ("vertebra",)])
def test_there_are_none_where_their_place_is_not_known(lacking: tuple[str, ...]) -> None:
    structures = back()
    structures[np.isin(structures, [STRUCTURES[name] for name in lacking])] = STRUCTURES["visceral_fat"]
    assert not lumbar_muscles(structures, SPACING, near=0.0, far=10.0).any()


def test_kidneys_too_short_to_tell_their_top() -> None:
    structures = back()
    structures[:, :, 3:] = STRUCTURES["visceral_fat"]
    structures[66:80, 30:45, :3] = STRUCTURES["kidney_right"]
    assert not lumbar_muscles(structures, SPACING, near=0.0, far=10.0).any()
