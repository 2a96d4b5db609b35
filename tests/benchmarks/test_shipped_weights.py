"""The weights that ship, on real scans: no more checks fail than those that the model card names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.cell import CONFIGS
from benchmarks.enhance import enhance
from benchmarks.rise import checks, measure_rise
from benchmarks.scan_catalogue import find_scans
from benchmarks.scan_regions import find_regions

REAL = os.environ.get("NCE_REAL_DATA")
BRIGHT = "muscle: largest piece above +40 HU"


@pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")
@pytest.mark.parametrize(
    ("name", "missed"),  # what the model card says of them
    [("nect_abdomen", {"kidney_left: rise", "kidney_right: rise", BRIGHT}), ("nect_acrin_flt", {BRIGHT})],
)
def test_organs_rise_as_the_literature_says_and_nothing_else_does(name: str, missed: set[str], tmp_path: Path) -> None:
    (scan,) = find_scans(Path(REAL or ""), [name])
    hu, affine = scan.volume
    weights = str(CONFIGS.parent / "models" / "model.pt")
    synthetic = enhance({"scan": (hu, affine)}, tmp_path, checkpoint=weights)["scan"]
    made = list(checks(measure_rise(hu, synthetic, affine, find_regions(scan), "portal")))
    assert len(made) >= 15
    assert {check.what for check in made if not check.passed} <= missed
