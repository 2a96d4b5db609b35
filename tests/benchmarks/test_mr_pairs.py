from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from benchmarks.cell import Cell
from benchmarks.mr_pairs import leave_one_out, main, markdown, table_rows
from tests.tiny import TINY

SCANS = {"source": "/in/{patient}/t1.nii", "target": "/in/{patient}/t1c.nii", "size": 128, "slices": 64}


def finish(cell: Cell, patient: str, mse: float, enhancing: float | None, seconds: float | None = 120.0) -> None:
    """Write what a cell of this outcome leaves; identity's errors are twice as large."""

    def metrics(value: float) -> dict[str, Any]:
        return {"mse": {"per_patient": {patient: value}}, "ms_ssim": {"per_patient": {patient: 1 - value}}}

    def regions(factor: int, rise: float) -> dict[str, Any]:
        errors = {"head": 4 * factor * mse, "enhancing": enhancing and factor * enhancing}
        return {**errors, "rise": None if enhancing is None else rise}

    cell.path.mkdir(parents=True)
    found = {"identity": metrics(2 * mse), cell.method: metrics(mse)}
    (cell.path / "cell.json").write_text(json.dumps({"spec": cell.spec, "seconds": seconds, "metrics": found}))
    measured = {patient: {"identity": regions(2, 0.0), "synthetic": regions(1, 0.4)}}
    (cell.path / "regions.json").write_text(json.dumps(measured))


def test_each_patient_is_left_out_once(tmp_path: Path) -> None:
    folds = leave_one_out("ab", SCANS, None, [0.0, 0.05], [0], tmp_path, {"batch_size": 2})
    for patient, cells in folds.items():
        assert [cell.method for cell in cells[::2]] == ["cycle", "joint", "single", "separate", "oracle"]
        for cell in cells:
            assert cell.data.kind == "mr-pairs"
            assert cell.data.settings == {**SCANS, "hold_out": [patient], "distortion": cell.distortion}
            assert cell.configs[-2:] == ["ixi", "t1ce"]
            assert cell.overrides == {"batch_size": 2, "method": cell.method}
    assert len({cell.path for cells in folds.values() for cell in cells}) == 20
    assert len({cell.data.path for cells in folds.values() for cell in cells}) == 4


def test_means_and_ranges_over_patients(tmp_path: Path) -> None:
    folds = leave_one_out("abc", SCANS, ["single"], [0.0, 0.02], [0, 1], tmp_path)
    at = {(patient, cell.distortion, cell.seed): cell for patient, cells in folds.items() for cell in cells}
    finish(at["a", 0.0, 0], "a", 0.01, 0.2)
    finish(at["a", 0.0, 1], "a", 0.03, 0.4, seconds=None)
    finish(at["b", 0.0, 0], "b", 0.05, None, seconds=240)
    finish(at["c", 0.02, 1], "c", 0.08, 0.5)
    rows = {(row["distortion"], row["method"]): row for row in table_rows(folds)}
    assert list(rows) == [(k, method) for k in (0, 0.02) for method in ("identity", "single")]
    single, identity = rows[0, "single"], rows[0, "identity"]
    assert single["patients"]["a"] == pytest.approx(
        {"mse": 0.02, "ms_ssim": 0.98, "head": 0.08, "enhancing": 0.3, "rise": 0.4}
    )
    for part, values in {"mean": (0.035, 0.3), "low": (0.02, 0.3), "high": (0.05, 0.3)}.items():
        assert (single[part]["mse"], single[part]["enhancing"]) == pytest.approx(values)
        assert (identity[part]["mse"], identity[part]["enhancing"]) == pytest.approx([2 * value for value in values])
    assert (single["minutes"], identity["minutes"]) == (3, None)
    assert list(rows[0.02, "single"]["patients"]) == ["c"]
    about = {"patients": list("abc"), "seeds": [0, 1], "hardware": "two cores", "command": "it"}
    text = markdown(about, list(rows.values()))
    assert text.count("| identity |") == 2 and "## k = 0\n" in text and "## k = 0.02\n" in text
    line = next(line for line in text.splitlines() if line.startswith("| single | 2 |"))
    assert line == (
        "| single | 2 | 3.500 [2.000, 5.000] | 0.9650 [0.9500, 0.9800] | 14.000 [8.000, 20.000] "
        "| 30.00 [30.00, 30.00] | 40 [40, 40] | 3.0 |"
    )


def write_pairs(folder: Path, patients: str) -> list[str]:
    """Heads of 70 × 70 × 12 voxels, a block of which enhances."""
    for number, patient in enumerate(patients):
        (folder / patient).mkdir(parents=True)
        before = np.zeros((80, 80, 20), dtype=np.float32)
        before[5:75, 5:75, 4:16] = 500 + 20 * np.random.default_rng(number).standard_normal((70, 70, 12))
        after = 2 * before
        after[30:45, 30:45, 6:14] *= 1.8
        for name, volume in (("t1", before), ("t1c", after)):
            nib.save(nib.Nifti1Image(volume, np.eye(4)), folder / patient / f"{name}.nii")
    return ["--source", f"{folder}/{{patient}}/t1.nii", "--target", f"{folder}/{{patient}}/t1c.nii"]


@pytest.mark.parametrize(
    ("patients", "given", "line"),
    [
        ("a", [], "expected two patients or more with both scans but got 1"),
        ("ab", ["--patients", "c"], "--patients: expected some of a, b but got c"),
        ("ab", ["--methods", "pix2pix"], "method: expected some of identity"),
        ("ab", ["--distortions", "-1"], "distortion: expected 0 or more, and less than 1, but got -1"),
        ("ab", ["--set", "x"], "--set: expected KEY=VALUE but got 'x'"),
        ("", ["--source", "x"], "name the scans by --source and --target"),
    ],
)
def test_wrong_input_gets_one_line_and_writes_nothing(
    patients: str, given: list[str], line: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NCE_REAL_DATA", raising=False)
    scans = write_pairs(tmp_path / "in", patients) if patients else []
    assert main([*scans, *given, "--out-dir", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_table_of_two_patients(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = {**TINY, "classifier#max_epochs": 1, "stage1#max_epochs": 1, "stage2#max_epochs": 1}
    given = [*write_pairs(tmp_path / "in", "ab"), "--out-dir", str(tmp_path / "out"), "--size", "64", "--slices", "4"]
    given += ["--methods", "oracle", "--distortions", "0.02", "--jobs", "1"]
    settings = ["--set", *(f"{key}={json.dumps(value)}" for key, value in tiny.items())]
    assert main([*given, *settings]) == 0
    capsys.readouterr()
    assert main([*given, *settings]) == 2
    assert "holds cells already; go on with --resume" in capsys.readouterr().err
    (tmp_path / "out" / "b" / "cells" / "oracle_k0.02_s0" / "regions.json").unlink()
    assert main([*given, *settings, "--resume"]) == 0
    rows = json.loads((tmp_path / "out" / "mr_pairs.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["identity", "oracle"]
    assert all(list(row["patients"]) == ["a", "b"] for row in rows)
    # 1000 stands for 500 and 2.3 standard deviations of 20, so the block rises by 0.8 × 500 / 546 on [-1, 1], and less
    # where its edges are resized
    assert (
        rows[0]["mean"]["enhancing"] == pytest.approx((0.8 * 500 / 546) ** 2, rel=0.1) and rows[0]["mean"]["rise"] == 0
    )
    assert len(list((tmp_path / "out").glob("*/figures/fig8_comparison.png"))) == 2
