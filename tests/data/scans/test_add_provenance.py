from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_nce.data import (
    AddProvenanced,
    FoundVolume,
    Provenance,
    check_inference_items,
    inference_items,
    tell_training_data,
    warn_of_phantoms,
    write_nifti_hu,
)
from monai_nce.data.dataset.writer import MARKS

PHANTOM = [{"name": "phantom set", "kind": "phantom", "patients": 15, "scans": 30}]
REAL = [{"name": "mine", "kind": "real", "patients": 2, "scans": 3}]
HU = np.linspace(-1000, 300, 4 * 5 * 6).reshape(4, 5, 6)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_nifti_hu(tmp_path / "scan.nii.gz", HU, np.eye(4))
    return tmp_path / "scan.nii.gz"


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    write_nifti_hu(tmp_path / "phantom.nii", HU, np.eye(4), MARKS["phantom"])
    return tmp_path / "phantom.nii"


def test_each_volume_gets_it(scan: Path, phantom: Path) -> None:
    add = AddProvenanced(PHANTOM)
    item = {"source": [str(scan)], "other": 1}
    assert add(item) == {**item, "provenance": Provenance(PHANTOM)} and "provenance" not in item
    for source in (str(phantom), [str(phantom)]):
        assert add({"source": source})["provenance"] == Provenance(PHANTOM, "phantom")
    for unknown in ({}, {"source": [str(phantom), str(phantom)]}, {"source": []}):
        assert add(unknown)["provenance"].scan is None
    there = AddProvenanced(None, "from", "to")({"from": str(phantom)})
    assert there["to"] == Provenance(None, "phantom")


def test_training_data_are_told_once(scan: Path, capfd: pytest.CaptureFixture[str], as_rank: Any) -> None:
    tell_training_data([{"image": str(scan)}], REAL)
    tell_training_data([{"image": str(scan)}], None)
    as_rank(1, 2)
    tell_training_data([{"image": str(scan)}], REAL)
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        "weights: trained on 3 real scans (mine)",
        "weights: trained on data that they do not name",
    ]
    assert err == ""


def test_phantoms_alone_are_warned_of(
    scan: Path, phantom: Path, write_series: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    series = write_series(scan.parent / "series")
    items = [{"image": str(phantom)}, {"image": FoundVolume("nifti", scan, (scan,))}, {"image": str(series)}]
    for data, given in ((REAL, items), (None, items), (PHANTOM, items[:1]), (PHANTOM, [])):
        warn_of_phantoms(given, data)
    assert capfd.readouterr() == ("", "")
    warn_of_phantoms(items, PHANTOM)
    tell_training_data(items[:2], PHANTOM)
    warn_of_phantoms(items[2:], PHANTOM)
    out, err = capfd.readouterr()
    begin, end = "WARNING: the weights were trained on phantoms alone and", ": what they add there means nothing; "
    assert out == "weights: trained on 15 phantoms (phantom set)\n"
    assert [line.partition(end)[0] for line in err.splitlines()] == [
        f"{begin} 2 of 3 scans are none",
        f"{begin} {scan} is none",
        f"{begin} {series} is none",
    ]


def test_what_was_checked_and_read_already_is_known_too(
    scan: Path, phantom: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for path, warned in ((phantom, False), (scan, True)):
        items = inference_items(path, tmp_path / "out")
        check_inference_items(items)
        warn_of_phantoms(items, PHANTOM)
        assert ("WARNING" in capfd.readouterr().err) == warned


def test_what_is_asked_for_is_told_and_added(scan: Path, capfd: pytest.CaptureFixture[str]) -> None:
    added = AddProvenanced(REAL, phase="portal", level=1.3)({"source": str(scan)})
    assert added["provenance"] == Provenance(REAL, None, "portal", 1.3)
    tell_training_data([{"image": str(scan)}], REAL, "portal", 1.3)
    assert capfd.readouterr().out == "weights: trained on 3 real scans (mine)\nasked for: portal, level 1.3\n"
