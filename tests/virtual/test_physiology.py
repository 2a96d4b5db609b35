"""Drawn physiologies: reproducible, in range, and correlated as in one body."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.virtual.physiology import (
    BLOOD,
    LEVEL_RANGE,
    PHASE_SHARES,
    TIMING_RANGE,
    Physiology,
    interpolate_rise,
    sample_physiology,
)
from monai_nce.virtual.tissue import PHASES, TISSUES, Tissue

SEEDS = st.integers(0, 2**32 - 1)
_NEVER_ENHANCE = (
    "air subcutaneous_fat visceral_fat fluid bile bowel_content bowel_gas oral_contrast cortical_bone cartilage disc "
    "calcification"
)
NEVER_ENHANCE = tuple(_NEVER_ENHANCE.split())


def draw(seed: int, phase: str | None = None) -> Physiology:
    return sample_physiology(np.random.default_rng(seed), phase)


@cache
def cohort(phase: str | None = None, count: int = 1500) -> tuple[Physiology, ...]:
    return tuple(draw(seed, phase) for seed in range(count))


def nect(name: str) -> np.ndarray:
    return np.array([made.nect[name] for made in cohort()])


def rise(name: str, phase: str) -> np.ndarray:
    return np.array([made.enhancement[name] for made in cohort(phase)])


@given(SEEDS)
def test_same_seed_gives_the_same_patient_whatever_the_phase(seed: int):
    first = draw(seed)
    assert first == draw(seed)
    for phase in PHASES:
        made = draw(seed, phase)
        assert made.phase == phase
        assert (made.nect, made.level, made.timing) == (first.nect, first.level, first.timing)
    assert draw(seed, first.phase) == first


@given(SEEDS, st.sampled_from(PHASES))
def test_values_stay_in_range(seed: int, phase: str):
    made = draw(seed, phase)
    assert list(made.nect) == list(made.enhancement) == list(TISSUES)
    assert LEVEL_RANGE[0] <= made.level <= LEVEL_RANGE[-1]
    assert abs(made.timing) <= TIMING_RANGE
    assert all(value >= 0 for value in made.enhancement.values())
    assert 10 <= made.nect["liver"] <= 70
    for name, tissue in TISSUES.items():
        if name not in ("liver", "liver_metastasis", "hepatocellular_carcinoma"):
            assert abs(made.nect[name] - tissue.nect) <= 2 * tissue.spread + 1e-9, name
    assert made.enhancement["cyst"] < 10
    assert made.enhancement["lung"] < 20
    assert made.enhancement["spongy_bone"] < 8
    assert made.enhancement["muscle"] < 27


@given(SEEDS, st.sampled_from(PHASES))
def test_one_body(seed: int, phase: str):
    made = draw(seed, phase)
    assert {made.nect[name] for name in BLOOD} == {made.nect["aorta"]}
    assert made.nect["kidney_medulla"] == made.nect["kidney_cortex"]
    assert all(made.enhancement[name] == 0 for name in NEVER_ENHANCE)
    enhanced = {name: made.nect[name] + made.enhancement[name] for name in TISSUES}
    for values in (made.nect, enhanced):
        assert values["liver_metastasis"] < values["liver"]
    if phase != "delayed":
        assert made.enhancement["urine"] == made.enhancement["renal_pelvis"] == 0
    if made.enhancement["urine"]:  # what is in the bladder has come through the renal pelvis
        assert made.enhancement["renal_pelvis"] > 0


@given(SEEDS)
def test_arterial_order(seed: int):
    rises = draw(seed, "arterial").enhancement
    assert rises["aorta"] > rises["portal_vein"] > rises["hepatic_vein"]
    assert rises["kidney_cortex"] > rises["kidney_medulla"]
    assert rises["spleen"] > rises["liver"]
    assert rises["hepatocellular_carcinoma"] > rises["liver"]
    assert rises["inferior_vena_cava"] > rises["lower_veins"]


@given(SEEDS)
def test_portal_order(seed: int):
    rises = draw(seed, "portal").enhancement
    assert rises["aorta"] > rises["liver"] > rises["muscle"]
    assert rises["kidney_cortex"] > rises["spleen"] > rises["muscle"]


def test_interpolation_by_hand():
    aorta, vein = TISSUES["aorta"], Tissue(40, 0, 0, 5, 45, 72)
    assert interpolate_rise(aorta, "portal", 0) == 118
    assert interpolate_rise(aorta, "arterial", 0.1) == pytest.approx(254.8)  # 270 - 0.1 * 152
    assert interpolate_rise(aorta, "portal", -0.1) == pytest.approx(133.2)  # 118 + 0.1 * 152
    assert interpolate_rise(aorta, "portal", 0.1) == pytest.approx(114.2)  # 118 - 0.1 * 38
    assert interpolate_rise(aorta, "delayed", 0.1) == pytest.approx(76.2)  # 80 - 0.1 * 38
    assert interpolate_rise(vein, "arterial", -0.1) == pytest.approx(1)  # 5 - 0.1 * 40
    assert interpolate_rise(vein, "arterial", -0.2) == 0  # not below


def test_level_multiplies_every_rise():
    for made in cohort("portal")[:50]:
        expected = interpolate_rise(TISSUES["aorta"], "portal", made.timing) * made.level
        assert made.enhancement["aorta"] == pytest.approx(expected, rel=2 * TISSUES["aorta"].variation + 1e-9)


def test_level_and_phase_follow_their_distributions():
    levels = np.array([made.level for made in cohort()])
    assert levels.mean() == pytest.approx((0.6 + 1 + 1.5) / 3, abs=0.02)  # of a triangular distribution
    assert levels.std() == pytest.approx(np.sqrt(0.61 / 18), abs=0.01)  # (.36 + 1 + 2.25 - .6 - .9 - 1.5) / 18
    for phase, share in zip(PHASES, PHASE_SHARES, strict=True):
        assert np.mean([made.phase == phase for made in cohort()]) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("phase", PHASES)
def test_mean_rise_is_the_tables(phase: str):
    level = np.mean([made.level for made in cohort(phase)])
    for name in ("aorta", "spleen", "kidney_cortex", "portal_vein", "pancreas", "muscle"):
        assert rise(name, phase).mean() / level == pytest.approx(TISSUES[name].rise(phase), rel=0.06), name


def test_one_level_makes_organs_rise_together():
    assert np.corrcoef(rise("aorta", "portal"), rise("spleen", "portal"))[0, 1] > 0.75
    assert np.corrcoef(rise("aorta", "portal"), rise("muscle", "portal"))[0, 1] > 0.4


def test_organs_are_bright_together_and_blood_is_of_its_own():
    assert np.corrcoef(nect("spleen"), nect("muscle"))[0, 1] == pytest.approx(0.3, abs=0.1)
    assert np.corrcoef(nect("subcutaneous_fat"), nect("visceral_fat"))[0, 1] == pytest.approx(0.3, abs=0.1)
    assert abs(np.corrcoef(nect("aorta"), nect("spleen"))[0, 1]) < 0.1


def test_fatty_livers_are_dark_and_rise_less():
    liver = nect("liver")
    fatty = liver < 40
    assert 0.05 < fatty.mean() < 0.2
    assert liver.min() < 20
    rises = rise("liver", "portal")
    assert rises[fatty].mean() / rises[~fatty].mean() == pytest.approx(36 / 47, abs=0.1)


def test_excretion_and_papillary_carcinomas_are_drawn():
    assert np.mean(rise("renal_pelvis", "delayed") > 0) == pytest.approx(0.9, abs=0.03)
    assert np.mean(rise("urine", "delayed") > 0) == pytest.approx(0.5, abs=0.04)
    levels = np.array([made.level for made in cohort("arterial")])
    assert np.mean(rise("renal_cell_carcinoma", "arterial") / levels < 50) == pytest.approx(0.25, abs=0.04)


def test_unknown_phase_is_refused():
    with pytest.raises(InputError, match="phase: expected one of arterial, portal, delayed but got 'venous'"):
        draw(0, "venous")
