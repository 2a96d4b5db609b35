from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ignite.engine import Engine

from benchmarks.lesions import Lesion, area_under_curve, main, measure, summarize
from monai_nce.data import DatasetWriter
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.networks import Generator
from monai_nce.transforms import WindowHU
from tests.metrics.test_lesions import LABELS, label_map

HU = {
    "air": (-1000, -1000),
    "liver": (58, 110),
    "cyst": (7, 10),
    "liver_metastasis": (40, 65),
    "haemangioma": (57, 300),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lesions") / "set"
    numbers = label_map()
    nect, cect = (np.array([HU[name][side] for name in LABELS])[numbers] for side in (0, 1))
    given = {"name": "lesions", "description": "d", "licence": "CC0-1.0", "provenance": {"labels": LABELS}}
    with DatasetWriter(folder, **given) as made:
        for patient in ("p0", "p1"):
            volumes = {"source": nect, "aligned_source": nect, "target": cect, "labels": numbers}
            made.add("test", patient, np.diag([2, 2, 5, 1.0]), **volumes)
        empty = {**volumes, "labels": np.minimum(numbers, 1)}
        made.add("validation", "healthy", np.eye(4), **empty)
    return folder


@dataclass
class Adding:
    """Weights that add a constant to what is brighter than 30 HU."""

    window: WindowHU = field(default_factory=lambda: WindowHU(50, 300))

    def enhance(self, hu: np.ndarray) -> np.ndarray:
        return np.clip(hu + 20.0 * (hu > 30), -100, 200)


def test_means_of_lesion_and_organ(dataset: Path) -> None:
    lesions = measure(dataset, {"w": Adding()})  # type: ignore[dict-item]
    assert [(one.patient, one.kind) for one in lesions[:3]] == [
        ("p0", "liver_metastasis"),
        ("p0", "haemangioma"),
        ("p0", "cyst"),
    ]
    tumour, haemangioma, cyst = lesions[:3]
    means = cyst.nect + cyst.cect + cyst.synthetic["w"]
    assert means == pytest.approx((7, 58, 10, 110, 7, 78), abs=0.001)
    assert cyst.cm3 == pytest.approx(36 * 2 * 2 * 5 / 1000)
    assert (cyst.rise, cyst.contrast) == pytest.approx((3, -100), abs=0.001) and cyst.shown
    assert haemangioma.cect == pytest.approx((200, 110), abs=0.001)  # the window's end
    assert not haemangioma.shown
    assert tumour.synthetic["w"] == pytest.approx((60, 78), abs=0.001)


def test_area_under_the_curve_by_hand() -> None:
    assert area_under_curve([3, 1], [2, 0]) == 0.75
    assert area_under_curve([1, 1], [1]) == 0.5
    assert area_under_curve([], [1]) is None


def test_telling_apart_by_hand() -> None:
    def lesion(patient: str, nect: float, cect: float, made: float, around: float = 100) -> Lesion:
        return Lesion(patient, "cyst", "liver", 1.0, (nect, 55), (cect, 110), {"w": (made, around)})

    # rising: 30 to 140 and 40 to 70, not rising: 10 to 12 and 5 to 6; 50 to 65 is in between
    lesions = [
        lesion("a", 30, 140, 90),
        lesion("a", 10, 12, 30),
        lesion("b", 40, 70, 50),
        lesion("b", 5, 6, 6),
        lesion("b", 50, 65, 0),
    ]
    identity, made = (summarize(lesions, row) for row in ("identity", "w"))
    assert identity["rise"]["positive"] == identity["rise"]["negative"] == 2
    assert identity["rise"]["auc"] == 1  # 30 and 40 lie above 10 and 5
    assert made["rise"]["auc"] == 0.75  # rises of 60 and 10 against 20 and 1
    assert made["rise"]["interval"] == [0.75, 1.0]  # patient a alone has 1, b alone 1, both 0.75
    assert (made["contrast"]["positive"], made["contrast"]["negative"]) == (1, 4)
    assert made["contrast"]["auc"] == 1 and identity["contrast"]["auc"] == 0.5  # 30 among 10, 40, 5, 50
    assert summarize(lesions[:1], "w")["rise"] == {"positive": 1, "negative": 0, "auc": None, "interval": None}


def test_the_command(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = Generator(3, (4, 4), 4, residual=True)
    saver = WeightsSaver(network, tmp_path / "w.pt", trained_for=TrainedFor("NECT", "CECT", 50, 300, 1.0, 3))
    saver(Engine(lambda engine, batch: None))
    given: list[Any] = ["--data", str(dataset), "--weights", str(tmp_path / "w.pt")]
    assert main([*given, "--out", str(tmp_path / "lesions.json")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("6 lesions of 2 test patients") and said.count("| identity | ") == 3
    report = json.loads((tmp_path / "lesions.json").read_text())
    assert len(report["lesions"]) == 6 and report["told_apart"]["all"]["identity"]["rise"]["auc"] == 1
    assert main([*given, "--split", "validation"]) == 2
    assert "expected validation patients with lesions in an organ but there are none" in capsys.readouterr().err
    other = Adding(WindowHU(40, 400))
    with pytest.raises(InputError, match="expected weights of one window but got 2"):
        measure(dataset, {"a": Adding(), "b": other})  # type: ignore[dict-item]
