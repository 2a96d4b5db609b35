"""Only a torso is taken: organs of a patient's size, on their sides and levels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_nce.errors import InputError
from monai_nce.virtual.plausibility import MAX_ML, PLACES, TORSO, check_plausible
from monai_nce.virtual.structures import STRUCTURES
from tests.virtual.torso import AFFINE, torso

PATH = Path("map.nii.gz")


def refusal(structures: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    with pytest.raises(InputError, match=r"^map\.nii\.gz: ") as raised:
        check_plausible(PATH, structures, affine, "totalsegmentator")
    return str(raised.value)


def test_torso_is_taken() -> None:
    check_plausible(PATH, torso(), AFFINE, "totalsegmentator")


def test_names_are_structures() -> None:
    named = {*TORSO, *MAX_ML, *(name for *_, pairs in PLACES for pair in pairs for name in pair)}
    assert named <= set(STRUCTURES)


@pytest.mark.parametrize("part", [slice(22, 27), slice(2, 12), slice(30, 39)])
def test_parts_are_taken(part: slice) -> None:
    structures = torso()[:, :, part]
    structures[0, 0, :3] = [STRUCTURES[name] for name in ("rib", "colon", "stomach")]
    check_plausible(PATH, structures, AFFINE, "totalsegmentator")


@pytest.mark.parametrize(
    ("flipped", "expected"),
    [
        (torso()[::-1], "expected liver to the right of spleen but it lies"),
        (torso()[:, ::-1], "expected liver in front of spinal_canal but it lies"),
        (torso()[:, :, ::-1], "expected lung above liver but it lies"),
    ],
)
def test_flipped(flipped: np.ndarray, expected: str) -> None:
    assert expected in refusal(np.ascontiguousarray(flipped))


def test_wrong_scale() -> None:
    text = refusal(torso(), np.diag([30.0, 30, 30, 1]))
    assert "liver has" in text and "ml, more than any patient's" in text
    assert "less than any patient's" in refusal(torso(), np.diag([2.0, 2, 2, 1]))


def test_liver_at_the_edge_may_be_small() -> None:
    structures = torso()[:, :, 27:]
    check_plausible(PATH, structures, AFFINE, "totalsegmentator")


def test_fragments_say_nothing_of_places() -> None:
    structures = torso()
    structures[structures == STRUCTURES["spleen"]] = 0
    structures[38, 20, 20] = STRUCTURES["spleen"]
    check_plausible(PATH, structures, AFFINE, "totalsegmentator")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "expected 3 or more kinds of structures of a torso but got nothing but background"),
        (("brain", "bone", "muscle"), "but got none"),
        (("liver", "spleen", "muscle"), "but got liver, spleen"),
    ],
)
def test_no_torso(names: tuple[str, ...], expected: str) -> None:
    structures = np.zeros((20, 20, 20), np.uint8)
    for place, name in enumerate(names):
        structures[place] = STRUCTURES[name]
    assert expected in refusal(structures)
