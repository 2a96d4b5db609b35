"""Rows and their two files, from results whose means and order are known."""

from __future__ import annotations

import json

import pytest

from benchmarks.table import PAPER_CT, PAPER_IXI, table_rows, write_table
from monai_nce.metrics import METRICS


def metric(*patients: float) -> dict:
    return {
        "mean": sum(patients) / len(patients),
        "per_patient": {f"p{i}": value for i, value in enumerate(patients)},
    }


def result(method: str, mse: tuple[float, ...], distortion: float | None = None, seed: int = 0, seconds=60.0) -> dict:
    """MS-SSIM is 1 - MSE; identity is 0.5 and 0.3."""
    rows = {"identity": (0.5, 0.3), method: mse}
    metrics = {
        name: {key: metric(*(1 - v for v in values)) if "ssim" in key else metric(*values) for key in METRICS}
        for name, values in rows.items()
    }
    about = {"patients": 2, "aligned": True, "ms_ssim": {"window": 7, "scales": 5}, "interval": "95 %"}
    return {
        "method": method,
        "distortion": distortion,
        "seed": seed,
        "seconds": seconds,
        "metrics": {"about": about, **metrics},
    }


ABOUT = {"data": "phantom", "preset": "small", "hardware": "a processor", "command": "a command", "note": "A note."}


def test_means_over_seeds_and_patients():
    rows = table_rows([result("joint", (0.1, 0.3), seed=1), result("joint", (0.3, 0.3), seed=0)], mri=False)
    identity, joint = rows
    assert identity["method"] == "identity" and identity["seeds"] == [] and identity["seconds"] is None
    assert identity["mse"]["mean"] == pytest.approx(0.4)
    assert joint["seeds"] == [0, 1] and joint["mse"]["per_seed"] == pytest.approx([0.3, 0.2])
    assert joint["mse"]["mean"] == pytest.approx(0.25)
    # of two patients with 0.2 and 0.3, a bootstrap's extremes are the patients themselves
    assert (joint["mse"]["low"], joint["mse"]["high"]) == pytest.approx((0.2, 0.3))
    assert joint["ms_ssim"]["mean"] == pytest.approx(0.75) and joint["gap_closed"] is None


def test_the_gap_is_between_identity_and_the_oracle():
    rows = {
        row["method"]: row
        for row in table_rows([result("separate", (0.2, 0.2)), result("oracle", (0.1, 0.1))], mri=False)
    }
    assert rows["separate"]["gap_closed"] == pytest.approx((0.4 - 0.2) / (0.4 - 0.1))
    assert rows["identity"]["gap_closed"] == pytest.approx(0) and rows["oracle"]["gap_closed"] == pytest.approx(1)


def test_order_and_the_papers_columns():
    results = [result(m, (0.1, 0.1), k) for m in ("separate", "single") for k in (0.05, 0.01)]
    rows = table_rows(results, mri=True)
    assert [(row["method"], row["distortion"]) for row in rows] == [
        ("identity", 0.01),
        ("single", 0.01),
        ("separate", 0.01),
        ("identity", 0.05),
        ("single", 0.05),
        ("separate", 0.05),
    ]
    # the paper prints MSE times 100
    assert rows[1]["paper"] == {"mse": pytest.approx(0.00356), "ms_ssim": 0.928}
    assert rows[0]["paper"] is None
    (_, single) = table_rows([result("single", (0.1, 0.1))], mri=False)
    assert single["paper"] == {"mse": 0.108, "ms_ssim": 0.533}


def test_the_papers_own_order_is_as_in_its_text():
    """ "our models outperform the baselines for all metrics except MSE when k is 0.05" (section 4.4.2)."""
    for k, methods in {None: PAPER_CT, **PAPER_IXI}.items():
        for metric_index, better in ((0, min), (1, max)):
            best = better(methods, key=lambda name: methods[name][metric_index])
            assert (best in ("joint", "separate")) == ((k, metric_index) != (0.05, 0))


def test_files(tmp_path):
    results = [
        result("single", (0.3, 0.3)),
        result("joint", (0.1, 0.1)),
        result("separate", (0.2, 0.2), seconds=None),
        result("oracle", (0.05, 0.05)),
    ]
    write_table(tmp_path, ABOUT, results, mri=False)
    content = json.loads((tmp_path / "table1.json").read_text())
    assert content["data"] == "phantom" and len(content["rows"]) == 5
    joint = next(row for row in content["rows"] if row["method"] == "joint")
    assert joint["mse"]["mean"] == pytest.approx(0.1) and joint["paper"]["mse"] == 0.097 and joint["seconds"] == 60
    text = (tmp_path / "table1.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.split("The paper's")[0].splitlines() if "|" in line}
    assert "**0.1000" in rows["joint"] and "**0.9000" in rows["joint"]
    assert "<u>0.2000" in rows["separate"]
    # the ceiling is not in the race, though it is better
    assert "**" not in rows["oracle"] and "<u>" not in rows["single"]
    assert "0.097 | 0.557" in text and "A note." in text and "a processor" in text


def test_mri_is_shown_times_100_with_a_column_pair_per_distortion(tmp_path):
    results = [result(m, (0.003, 0.003), k) for m in ("joint", "cycle") for k in (0.01, 0.05)]
    write_table(tmp_path, ABOUT, results, mri=True)
    text = (tmp_path / "table1.md").read_text()
    assert "MSE × 100, k = 0.01 | MS-SSIM, k = 0.01 | MSE × 100, k = 0.05" in text
    assert "0.300 [0.300, 0.300]" in text and "0.298 | 0.950 | 0.367 | 0.941" in text
