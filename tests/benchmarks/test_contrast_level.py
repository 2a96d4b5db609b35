from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch import nn

from benchmarks.contrast_level import ORGANS, Patient, main, measure
from benchmarks.weights import Weights
from monai_nce.contrast import PHASES
from monai_nce.data import DatasetWriter, read_datalist
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.metrics.follow import ALL
from monai_nce.networks import Generator

LABELS = {"background": 0, **{name: number for number, name in enumerate(ORGANS, start=1)}}
RISE = 80.0  # HU at level 1
LEVELS = (0.7, 1.0, 1.3)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Patients without noise: organs side by side, of 50 HU, rise by 80 HU at level 1; the first organ is small."""
    folder = tmp_path_factory.mktemp("levels") / "set"
    labels = np.zeros((16, 16, 4), np.uint8)
    for number in range(2, len(ORGANS) + 1):
        labels[2 * number - 2 : 2 * number, 1:15] = number
    labels[0, :3, :3] = 1
    provenance = {"labels": LABELS, "seed": 3}
    with DatasetWriter(folder, name="levels", description="d", licence="CC0-1.0", provenance=provenance) as made:
        for number, level in enumerate((0.7, 0.9, 1.1, 1.3)):
            source = np.where(labels > 0, 50, -100)
            volumes = {"source": source, "aligned_source": source, "labels": labels}
            target = source + np.rint(RISE * level) * (labels > 0)
            contrast = {"phase": PHASES[number % 2], "level": level}
            made.add("test", f"p{number}", np.eye(4), **volumes, target=target, **contrast)
        made.add("test", "unknown", np.eye(4), **volumes, target=target)
        made.add("training", "t", np.eye(4), **volumes, target=target)
    return folder


class Obedient(nn.Module):
    """Raises what is brighter than air by a share of the level that it is told."""

    condition_channels, slices = 5, 3

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        level = 1 + self.share * x[:, 7:] / 2
        return x[:, :3] + (x[:, :3] > -1) * level * RISE / 150


@pytest.fixture
def weights(tmp_path: Path):
    """Write a small network's weights; returns their path."""

    def write(name: str = "model", **arguments: Any) -> Path:
        network = Generator(3, (4, 4), 4, residual=True, **arguments)
        saver = WeightsSaver(network, tmp_path / f"{name}.pt", trained_for=TrainedFor("NECT", "CECT", 50, 300, 1.0, 3))
        saver(Engine(lambda engine, batch: None))
        return tmp_path / f"{name}.pt"

    return write


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_how_far_a_network_follows(dataset: Path, weights: Any, share: float) -> None:
    one = Weights(weights(condition_channels=5))
    one.network = Obedient(share)
    result = measure(dataset, {"w": one}, LEVELS)
    assert result["patients"] == 4  # of the fifth nothing is known
    assert list(result["asked"]) == ["identity", "w"]
    assert list(result["between"]) == ["identity", "w, told nothing", "w, told phase and level"]
    follows = {"slope": pytest.approx(share, abs=0.01), "variance_ratio": pytest.approx(share**2, abs=0.02)}
    for row in (result["asked"]["w"], result["between"]["w, told phase and level"]):
        assert {key: row[ALL][key] for key in follows} == follows
        assert {key: row["liver"][key] for key in follows} == follows
        assert "aorta" not in row  # too small
    for row in (result["asked"]["identity"], result["between"]["identity"], result["between"]["w, told nothing"]):
        assert row[ALL]["slope"] == row[ALL]["variance_ratio"] == pytest.approx(0, abs=1e-9)
    assert result["between"]["identity"]["liver"]["error"] == pytest.approx(RISE, abs=0.5)
    if share == 1:
        assert result["between"]["w, told phase and level"][ALL]["error"] < 0.5


def test_truth_at_a_level_stays_within_the_window(dataset: Path, weights: Any) -> None:
    (item, *_) = read_datalist(dataset, "test")
    patient, window = Patient(item, LABELS), Weights(weights()).window
    liver = ORGANS.index("liver")
    expected = [50 + RISE * 0.7, 50 + RISE * 1.4, 200.0]
    found = [patient.means(patient.at_level(level), window)[liver] for level in (0.7, 1.4, 2.0)]
    assert found == pytest.approx(expected, abs=0.01)


def test_the_command(dataset: Path, weights: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(weights("plain")), str(weights("told", condition_channels=5))]
    out = tmp_path / "level.json"
    given = ["--data", str(dataset), "--weights", *paths, "--levels", "0.8", "1.2", "--out", str(out)]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 test patients") and said.count("| identity | ") == 4
    assert f"| {paths[0]}, told nothing | " in said and f"| {paths[0]}, told phase and level" not in said
    report = json.loads(out.read_text())
    assert report["data"] == "levels" and report["levels"] == [0.8, 1.2] and report["data_made_from"] == {"seed": 3}
    assert list(report["asked"]) == ["identity", paths[1]] and len(report["between"]) == 4
    assert report["weights"][paths[1]]["network"]["condition_channels"] == 5


def test_wrong_input_in_one_line(
    dataset: Path, weights: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = weights()
    said = TrainedFor.read(plain)
    torch.save(dict(torch.load(plain, weights_only=True)), tmp_path / "silent.pt")
    for given, message in (
        (["--levels", "3"], "level: expected a number from 0.3 to 2"),
        (["--split", "training"], "expected training patients of known phase and level but there are none"),
        (["--weights", str(tmp_path / "none.pt")], "none.pt: no such checkpoint"),
        (["--weights", str(tmp_path / "silent.pt")], "silent.pt: expected weights that say network and window"),
        (["--data", str(tmp_path)], "holds no datalist.json"),
    ):
        assert main(["--data", str(dataset), "--weights", str(plain), *given]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert message in line
    one, other = Weights(plain), Weights(plain)
    other.window = type(other.window)(40, 400)
    with pytest.raises(InputError, match="expected weights of one window but got 2"):
        measure(dataset, {"a": one, "b": other})
    assert said.network is not None
