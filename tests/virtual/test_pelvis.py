"""Tests of the pelvis that is made below a map."""

from __future__ import annotations

import numpy as np
import pytest

from monai_nce.virtual.pelvis import HEIGHT, add_pelvis, lacks_pelvis
from monai_nce.virtual.structures import STRUCTURES

SPACING = 3.0


def iliac_map(**more: bool) -> np.ndarray:
    """Return a block of muscle 360 mm wide and 210 mm deep, with iliac wings and a sacrum."""
    structures = np.zeros((141, 91, 20), np.uint8)
    structures[10:131, 10:81] = STRUCTURES["muscle"]
    structures[66:75, 14:24] = STRUCTURES["vertebra"]
    for middle in (35, 105):
        structures[middle - 3 : middle + 4, 30:60] = STRUCTURES["bone"]
    if more.get("bladder"):
        structures[60:80, 50:70, :4] = STRUCTURES["urinary_bladder"]
    if more.get("no_wings"):
        structures[structures == STRUCTURES["bone"]] = STRUCTURES["muscle"]
    return structures


def test_which_maps_lack_a_pelvis() -> None:
    assert lacks_pelvis(iliac_map(), SPACING)
    assert not lacks_pelvis(iliac_map(bladder=True), SPACING)
    assert not lacks_pelvis(iliac_map(no_wings=True), SPACING)


def test_the_map_stays_as_it_is_above() -> None:
    given = iliac_map()
    whole = add_pelvis(given, SPACING)
    np.testing.assert_array_equal(whole[:, :, -20:], given)
    assert whole.shape[2] == 20 + round(HEIGHT / SPACING)


def test_organs_of_the_size_that_was_meant() -> None:
    made = add_pelvis(iliac_map(), SPACING)[:, :, :-20]
    ml = SPACING**3 / 1000
    assert (made == STRUCTURES["urinary_bladder"]).sum() * ml == pytest.approx(4 / 3 * np.pi * 4 * 2.8 * 3, rel=0.1)
    for name in ("uterus", "prostate", "colon", "artery", "vein", "visceral_fat"):
        assert (made == STRUCTURES[name]).any(), name
    bladder, rectum = (np.argwhere(made == STRUCTURES[name]).mean(0) for name in ("urinary_bladder", "colon"))
    assert bladder[1] > rectum[1]  # in front


def test_both_sides_are_alike() -> None:
    made = add_pelvis(iliac_map(), SPACING)[:, :, :-20]
    assert (made == made[::-1]).mean() > 0.99
    left, right = ((part == STRUCTURES["bone"]).sum() * SPACING**3 / 1000 for part in (made[:70], made[71:]))
    assert left == pytest.approx(right, rel=0.05)
    assert 150 < left < 800


def test_nothing_within_the_outline_is_left_open() -> None:
    made = add_pelvis(iliac_map(), SPACING)[:, :, :-20]
    assert (made[70, 12:79] > 0).all()
    assert (made[:9] == 0).all()
