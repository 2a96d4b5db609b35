"""Tests of one patient's tissues in an anatomy."""

from __future__ import annotations

import numpy as np
import pytest

from monai_nce.virtual import tissue_map
from monai_nce.virtual.anatomy import Anatomy, complete
from monai_nce.virtual.physiology import sample_physiology
from monai_nce.virtual.structures import STRUCTURES
from monai_nce.virtual.tissue_map import CODES, _in_front, draw_tissues, redraw_bowel
from tests.virtual.anatomy_map import SPACING, torso_map


@pytest.fixture(scope="module")
def torso() -> Anatomy:
    return complete(torso_map(), spacing=SPACING)


@pytest.mark.parametrize("seed", range(4))
def test_organs_are_made_of_their_tissues(torso: Anatomy, seed: int) -> None:
    codes = draw_tissues(torso, np.random.default_rng(seed)).codes
    liver = codes[torso.structures == STRUCTURES["liver"]]
    assert (liver == CODES["liver"]).mean() > 0.6
    aorta = codes[torso.structures == STRUCTURES["aorta"]]
    assert np.isin(aorta, [CODES["aorta"], CODES["calcification"]]).all()
    skin, air = codes == CODES["skin"], codes == CODES["air"]
    assert skin.any()
    assert not air[torso.trunk_distance == 0].any()


def test_values_are_looked_up_by_hand(torso: Anatomy) -> None:
    tissues, values = (
        draw_tissues(torso, np.random.default_rng(0)),
        sample_physiology(np.random.default_rng(0), "portal"),
    )
    hu, rise = tissues.hu(values)
    aorta = tissues.codes == CODES["aorta"]
    assert hu[aorta].mean() == pytest.approx(values.nect["aorta"], abs=1)
    np.testing.assert_allclose(rise[aorta], values.enhancement["aorta"] * tissues.uptake[aorta], rtol=1e-5)
    muscle = tissues.codes == CODES["muscle"]
    mixed = tissues.fatty[muscle] * values.nect["visceral_fat"] + (1 - tissues.fatty[muscle]) * (
        values.nect["muscle"] + tissues.shade[muscle]
    )
    np.testing.assert_allclose(hu[muscle], mixed, atol=1e-2)


def test_what_takes_no_contrast_up_does_not_rise(torso: Anatomy) -> None:
    for seed in range(6):
        tissues = draw_tissues(torso, np.random.default_rng(seed))
        _, rise = tissues.hu(sample_physiology(np.random.default_rng(seed), "portal"))
        for name in ("fluid", "bowel_content", "bowel_gas", "air", "bile", "visceral_fat", "subcutaneous_fat"):
            assert np.abs(rise[tissues.codes == CODES[name]]).max(initial=0) < 10, name


def test_peristalsis_changes_the_lumen_alone(torso: Anatomy) -> None:
    tissues = draw_tissues(torso, np.random.default_rng(3))
    moved = redraw_bowel(tissues.codes, tissues.lumen, tissues.front, torso.spacing, np.random.default_rng(9))
    changed = moved != tissues.codes
    assert changed.any()
    assert not (changed & ~tissues.lumen).any()
    assert np.isin(moved[tissues.lumen], [CODES["bowel_content"], CODES["bowel_gas"]]).all()


def test_gas_lies_in_front(torso: Anatomy) -> None:
    tissues = draw_tissues(torso, np.random.default_rng(3))
    for seed in range(3):
        codes = redraw_bowel(tissues.codes, tissues.lumen, tissues.front, torso.spacing, np.random.default_rng(seed))
        gas, content = (tissues.lumen & (codes == CODES[name]) for name in ("bowel_gas", "bowel_content"))
        assert gas.any()
        assert tissues.front[gas].mean() > tissues.front[content].mean() + 2  # mm


def test_front_is_measured_from_the_middle_of_the_lumen() -> None:
    lumen = np.zeros((30, 30, 30), bool)
    lumen[5:25, 10:21, 5:25] = True  # along y 10 to 20, so the middle is at 15
    front = _in_front(lumen, spacing=2.0)
    np.testing.assert_allclose(front[15, 10:21, 15], 2.0 * np.arange(-5, 6), atol=2.5)


def test_patients_differ_and_a_seed_gives_one(torso: Anatomy) -> None:
    one, same, other = (draw_tissues(torso, np.random.default_rng(seed)).codes for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.02


@pytest.mark.parametrize(
    ("share", "tissue", "most"), [("STONES_SHARE", "calcification", 0.05), ("DILATED_SHARE", "renal_pelvis", 0.7)]
)
def test_some_kidneys_hold_stones_or_much_urine(
    torso: Anatomy, monkeypatch: pytest.MonkeyPatch, share: str, tissue: str, most: float
) -> None:
    kidneys = np.isin(torso.structures, [STRUCTURES["kidney_right"], STRUCTURES["kidney_left"]])
    found = {}
    for value in (0.0, 1.0):
        monkeypatch.setattr(tissue_map, share, value)
        codes = draw_tissues(torso, np.random.default_rng(2)).codes[kidneys]
        found[value] = (codes == CODES[tissue]).mean()
    assert found[0.0] < found[1.0] < most
