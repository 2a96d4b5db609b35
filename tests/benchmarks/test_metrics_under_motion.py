from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ignite.engine import Engine

from benchmarks import metrics_under_motion
from benchmarks.metrics_under_motion import FAULTS, TRUTHS, correlations, main, measure_patient, noticed
from monai_nce.data import DatasetWriter, read_datalist
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.metrics import ADDITIONAL_METRICS
from monai_nce.networks import Generator
from monai_nce.transforms import WindowHU

LABELS = {"air": 0, "muscle": 1, "aorta": 2}
SHAPE = (24, 24, 6)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two patients of muscle with an aorta that rises by 100 HU, acquired a pixel aside."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:22, 2:22] = 1
    labels[8:14, 8:14] = 2
    with DatasetWriter(
        tmp_path / "set", name="s", description="d", licence="CC0-1.0", provenance={"labels": LABELS}
    ) as d:
        for number in range(2):
            noise = np.random.default_rng(number).integers(-20, 20, SHAPE)
            nect = np.where(labels > 0, 50 + noise, -1000)
            volumes = {"aligned_source": nect, "source": np.roll(nect, 1, 0), "target": nect + 100 * (labels == 2)}
            d.add("test", f"p{number}", np.diag([2.5, 2.5, 4, 1]), **volumes, labels=labels)
    return tmp_path / "set"


def enhance(hu: np.ndarray) -> np.ndarray:
    """Raise the place of the aorta by 90 HU, wherever the patient lies."""
    made = hu.copy()
    moved = int(hu[2, 10, 0] < -500)
    made[8 + moved : 14 + moved, 8:14] += 90
    return made


class NoRegistration:
    def register(self, fixed: np.ndarray, moving: np.ndarray, spacing: Any) -> np.ndarray:
        assert len(spacing) == 3 and fixed.shape == moving.shape == SHAPE
        return moving.astype(np.float32)


def test_a_patient_is_measured_in_both_poses(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_under_motion, "make_registration", lambda *_, **__: NoRegistration())
    item = read_datalist(dataset, "test", ("target",))[0]
    weights: dict[str, Any] = {"good": SimpleNamespace(enhance=enhance)}
    found = measure_patient(item, LABELS, weights, WindowHU(), list(metrics_under_motion.REGISTERED))
    assert list(found) == ["good", *FAULTS, "identity"]
    for row in found.values():
        assert set(ADDITIONAL_METRICS) < set(row["aligned"]) < set(row["moved"])
    # 36 of 400 pixels are off by 10 HU, or by 100; muscle is right
    assert found["good"]["truth"] == pytest.approx({"body_mae": 0.9, "organ_error": 5}, abs=0.01)
    assert found["identity"]["truth"] == pytest.approx({"body_mae": 9, "organ_error": 50}, abs=0.01)
    assert found["half of the contrast"]["truth"]["organ_error"] == pytest.approx(55 / 2, abs=0.01)
    assert found["10 HU too bright"]["truth"] == pytest.approx({"body_mae": 9.1, "organ_error": 5}, abs=0.01)
    assert found["kidneys and vessels left out"]["truth"] == found["identity"]["truth"]
    assert found["good"]["aligned"]["mae_hu"] < found["good"]["moved"]["mae_hu"]
    for key in metrics_under_motion.REGISTERED:  # this one leaves all where it is
        assert found["good"]["moved"][key] == pytest.approx(found["good"]["moved"]["mae_hu"], rel=1e-5)


@given(st.permutations(range(6)))
@settings(max_examples=10)
def test_correlations_by_hand(order: list[int]) -> None:
    truth = np.tile(np.arange(6.0), (3, 1))
    badness = np.tile(np.array(order, float) ** 3, (3, 1))
    found = correlations(truth, badness, resamples=20)
    difference = np.square(np.arange(6) - order).sum()
    assert found["spearman"] == pytest.approx(1 - 6 * difference / (6 * 35))
    pairs = [(order[j] - order[i]) > 0 for i in range(6) for j in range(i + 1, 6)]
    assert found["kendall"] == pytest.approx((2 * sum(pairs) - 15) / 15)
    assert found["spearman_interval"] == pytest.approx([found["spearman"]] * 2)  # patients that agree
    assert set(correlations(truth, badness, resamples=0)) == {"spearman", "kendall"}
    assert correlations(truth, np.ones_like(truth), resamples=5) == {"spearman": None, "kendall": None}


def test_faults_change_what_they_say() -> None:
    scan = np.full((20, 20, 9), 40, np.float32)
    made = scan + np.float32(30)
    made[5:9] += 30
    for name, fault in FAULTS.items():
        faulty = fault(scan, made, (2.5, 2.5, 4.0))
        assert faulty.shape == made.shape and not np.array_equal(faulty, made), name
    assert FAULTS["kidneys and vessels left out"](scan, made, (1, 1, 1))[6, 0, 0] == 40
    steps = FAULTS["flicker of 20 HU"](scan, made, (1, 1, 1))[0, 0] - made[0, 0]
    assert steps.tolist() == [-10, -10, -10, 10, 10, 10, -10, -10, -10]
    worse = {name: np.array([2.0, 0.5]) for name in FAULTS}
    assert set(noticed({**worse, "good": np.ones(2)}, "good").values()) == {0.5}


def test_tables_files_and_a_second_run(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Generator(3, (4, 4), 4, residual=True)
    saver = WeightsSaver(network, tmp_path / "a.pt", trained_for=TrainedFor("NECT", "CECT", 50, 300, 1.0, 3))
    saver(Engine(lambda engine, batch: None))
    monkeypatch.setattr(metrics_under_motion, "RESAMPLES", 10)
    typed = ["--data", str(dataset), "--weights", f"same={tmp_path / 'a.pt'}", "--registered", "0"]
    typed += ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(typed) == 0
    printed = capsys.readouterr().out
    result = json.loads((tmp_path / "out/metrics_under_motion.json").read_text())
    assert (tmp_path / "out/metrics_under_motion.md").read_text() == printed
    assert result["patients"] == ["p0", "p1"] and set(result["truths"]) == set(TRUTHS)
    assert result["metrics"]["mse"]["aligned"]["body_mae"]["spearman"] > 0.5
    for pose, values in result["means"]["identity"].items():
        assert result["means"]["same"][pose] == pytest.approx(values)
    assert "| CW-SSIM | 2 |" in printed and "registered" not in printed.partition("Faults")[0]

    def never(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(metrics_under_motion, "measure_patient", never)
    assert main(typed) == 0 and capsys.readouterr().out == printed
    assert main([*typed[:2], "--weights", f"same={tmp_path / 'none.pt'}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
