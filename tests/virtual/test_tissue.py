"""The table of tissues: complete, plausible, and with ranges that hold its own means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import monai_nce.virtual.tissue as module
from monai_nce.errors import InputError
from monai_nce.virtual.tissue import (
    EXPECTED_RANGES,
    MIXTURES,
    PAPILLARY_CARCINOMA,
    PHASES,
    TISSUES,
    expected_enhancement,
)

NEVER_ENHANCE = "air subcutaneous_fat visceral_fat bile bowel_content bowel_gas cortical_bone cartilage disc fluid"
# HU without contrast that two standard deviations must stay within.
NECT_RANGES = {
    "spleen": (40, 58),
    "kidney_cortex": (16, 48),
    "muscle": (40, 65),
    "liver": (45, 70),
    "fluid": (0, 25),
    "bile": (0, 18),
    "cyst": (0, 15),
    "aorta": (30, 55),
    "spongy_bone": (80, 250),
    "subcutaneous_fat": (-115, -90),
    "visceral_fat": (-115, -90),
    "oral_contrast": (100, 400),
}


def test_every_row_names_a_source_that_the_docstring_lists_or_says_choice():
    text = Path(module.__file__).read_text(encoding="utf-8")
    listed = set(re.findall(r"^    (\[\w+\]) ", module.__doc__, re.MULTILINE))
    assert listed == set(re.findall(r"\[[A-Z]\w\w\]", module.__doc__.split("Sources:")[1]))
    rows = [line for line in text.splitlines() if re.match(r'    "\w+": (Tissue\(|\(\()', line)]
    assert len(rows) == len(TISSUES) + len(EXPECTED_RANGES)
    for row in rows:
        comment = row.partition("#")[2]
        cited = set(re.findall(r"\[\w+\]", comment))
        assert '"air"' in row or "choice" in comment or cited
        assert cited <= listed


@pytest.mark.parametrize("name", NECT_RANGES)
def test_nect_stays_in_its_range(name: str):
    low, high = NECT_RANGES[name]
    tissue = TISSUES[name]
    assert low <= tissue.nect - 2 * tissue.spread
    assert tissue.nect + 2 * tissue.spread <= high
    assert 4 * tissue.spread >= 0.7 * (high - low)  # generous: values must not give the tissue away


def test_some_tissues_never_enhance():
    for name in [*NEVER_ENHANCE.split(), "calcification", "oral_contrast"]:
        assert [TISSUES[name].rise(phase) for phase in PHASES] == [0, 0, 0], name


def test_patterns_over_the_phases():
    def falls(name: str) -> bool:
        tissue = TISSUES[name]
        return tissue.arterial > tissue.portal > tissue.delayed

    assert all(map(falls, ("aorta", "spleen", "pancreas", "kidney_cortex", "hepatocellular_carcinoma")))
    assert TISSUES["haemangioma"].arterial < TISSUES["haemangioma"].portal < TISSUES["haemangioma"].delayed
    liver, carcinoma = TISSUES["liver"], TISSUES["hepatocellular_carcinoma"]
    assert carcinoma.nect + carcinoma.arterial > liver.nect + liver.arterial
    assert (liver.nect + liver.delayed) / (carcinoma.nect + carcinoma.delayed) == pytest.approx(1.21, abs=0.01)  # [L13]
    clear_cell = TISSUES["renal_cell_carcinoma"]
    assert all(PAPILLARY_CARCINOMA.rise(phase) < 0.6 * clear_cell.rise(phase) for phase in PHASES)


@pytest.mark.parametrize("tissue", EXPECTED_RANGES)
@pytest.mark.parametrize("phase", PHASES)
def test_expected_range_holds_the_mean(tissue: str, phase: str):
    mean, low, high = expected_enhancement(tissue, phase)
    assert low <= mean <= high
    assert low < high


def test_expected_enhancement_by_hand():
    assert expected_enhancement("liver", "portal") == (53, 25, 80)
    mean, low, high = expected_enhancement("kidney", "portal")
    assert mean == pytest.approx(0.67 * 155 + 0.33 * 130)  # 146.75
    assert (low, high) == (80, 205)
    assert expected_enhancement("fat", "delayed")[0] == 0


def test_mixtures_add_up_to_one():
    assert all(sum(shares.values()) == pytest.approx(1) for shares in MIXTURES.values())


@pytest.mark.parametrize(
    ("tissue", "phase", "message"),
    [
        ("lever", "portal", "expected a tissue of liver, .* but got 'lever'"),
        ("liver", "venous", "phase: expected one of arterial, portal, delayed but got 'venous'"),
    ],
)
def test_unknown_names_are_refused(tissue: str, phase: str, message: str):
    with pytest.raises(InputError, match=message):
        expected_enhancement(tissue, phase)
