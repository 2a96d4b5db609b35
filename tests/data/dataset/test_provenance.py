from __future__ import annotations

from typing import Any

import pytest

from monai_nce.data import Provenance

PHANTOM = {"name": "monai-nce phantom", "kind": "phantom", "patients": 15, "scans": 30}
VIRTUAL = {"name": "monai-nce virtual", "kind": "virtual", "patients": 120, "scans": 240}
REAL = {"name": "CT, unpaired", "kind": "real", "patients": 3, "scans": 3}


@pytest.mark.parametrize(
    ("data", "trained_on", "kinds", "shortly"),
    [
        (None, "data that they do not name", "data that they do not name", ""),
        ([], "data that they do not name", "data that they do not name", ""),
        ([PHANTOM], "15 phantoms (monai-nce phantom)", "15 phantoms", "phantoms"),
        ([{**PHANTOM, "patients": 1}], "1 phantom (monai-nce phantom)", "1 phantom", "phantoms"),
        (
            [REAL, VIRTUAL],
            "3 real scans (CT, unpaired) and 120 virtual patients (monai-nce virtual)",
            "120 virtual patients and 3 real scans",
            "virtual+real",
        ),
        (
            [REAL, {**REAL, "name": "CT, paired", "scans": 8}, PHANTOM, VIRTUAL],
            "3 real scans (CT, unpaired), 8 real scans (CT, paired), 15 phantoms (monai-nce phantom) and 120 virtual "
            "patients (monai-nce virtual)",
            "15 phantoms, 120 virtual patients and 11 real scans",
            "phantoms+virtual+real",
        ),
        ([{"name": "mine", "patients": 4}], "4 patients (mine)", "4 patients", ""),
        ([{"name": "mine", "kind": "new"}, REAL], "patients (mine) and 3 real scans (CT, unpaired)",
         "3 real scans and patients", "real"),
        ([{"name": "café\n©  Î", "kind": "real", "scans": 2}], "2 real scans (cafe I)", "2 real scans", "real"),
    ],
)  # fmt: skip
def test_words(data: Any, trained_on: str, kinds: str, shortly: str) -> None:
    provenance = Provenance(data)
    assert (provenance.trained_on, provenance.kinds, provenance.shortly) == (trained_on, kinds, shortly)


def test_words_are_short_and_plain() -> None:
    provenance = Provenance([{**REAL, "name": f"é {number} " * 9} for number in range(99)])
    assert len(provenance.trained_on) <= 400 and provenance.trained_on.endswith(" ...")
    assert provenance.trained_on.isascii() and provenance.kinds == "297 real scans"


@pytest.mark.parametrize(
    ("data", "scan", "warned"),
    [
        ([PHANTOM], None, True),
        ([PHANTOM, PHANTOM], "real", True),
        ([PHANTOM], "virtual", True),
        ([PHANTOM], "phantom", False),
        ([PHANTOM, VIRTUAL], None, False),
        ([PHANTOM, {"name": "mine"}], None, False),
        ([VIRTUAL], None, False),
        (None, None, False),
        ([], None, False),
    ],
)
def test_phantoms_alone_on_a_scan_that_is_none(data: Any, scan: str | None, warned: bool) -> None:
    provenance = Provenance(data, scan)
    assert provenance.phantoms_alone == warned == ("trained on phantoms alone" in provenance.warning)


@pytest.mark.parametrize(
    ("phase", "level", "asked"),
    [
        (None, None, ""),
        ("portal", None, "portal"),
        (None, 1.0, "level 1"),
        ("arterial", 1.25, "arterial, level 1.25"),
    ],
)
def test_what_was_asked_for(phase: str | None, level: float | None, asked: str) -> None:
    provenance = Provenance([VIRTUAL], None, phase, level)
    assert provenance.asked == asked and len(asked) <= 20
    assert provenance.request == (f"Asked for: {asked}." if asked else "")
