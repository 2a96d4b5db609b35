from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hounsfield import FAULTS, GENUINE, main, measure
from monai_nce.data.scans.hounsfield import why_not_hounsfield
from monai_nce.phantom import make_phantom_patient


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_spoilt_is_found_whole(fault: str) -> None:
    hu = make_phantom_patient(0, size=64, slices=8).nect.astype(np.float32)
    assert why_not_hounsfield(FAULTS[fault](hu, np.random.default_rng(0)).astype(np.float32))


@pytest.mark.parametrize("change", GENUINE)
def test_what_is_still_a_ct_passes(change: str) -> None:
    hu = make_phantom_patient(0, size=64, slices=8).nect.astype(np.float32)
    changed = GENUINE[change](hu, np.random.default_rng(0))
    assert changed is None or not why_not_hounsfield(changed.astype(np.float32))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--draws", "1", "--data", str(tmp_path), "--out", str(tmp_path / "x.json")])
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert rows == measure(None, draws=1)
    assert {row["group"] for row in rows if row["images"]} == {"phantom"}
    assert "| CT, refused | real | made up |" in capsys.readouterr().out
