from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from torch import nn

from monai_nce.cli.app import main
from monai_nce.handlers.weights.state_file import write_torch
from monai_nce.handlers.weights.trained_for import TrainedFor
from tests.cli.typed import Line, typed


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training's output folder, and two data sets."""
    monkeypatch.chdir(tmp_path)
    for name in ("ct", "run/phantom"):
        Path(name).mkdir(parents=True)
        Path(name, "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": []}))
    Path("run/models").mkdir()
    network = nn.Linear(1, 1)
    weights = network.state_dict()
    write_torch(weights, "plain.pt")
    TrainedFor(source="NECT", target="CECT", method="joint").write_to(weights)
    write_torch(weights, "run/models/model.pt")


@pytest.mark.parametrize(
    ("line", "files", "flags"),
    [
        (
            "--run run --data ct",
            "train evaluate",
            "--dataset_dir ct --output_dir run --checkpoint run/models/model.pt --method joint --report True",
        ),
        (
            "--run run -o out --conditional --no-report --device cpu method=mine",
            "train conditional evaluate",
            "--dataset_dir run/phantom --output_dir out --checkpoint run/models/model.pt --method mine --device cpu",
        ),
        (
            "--weights plain.pt --data ct -o out",
            "train evaluate",
            "--dataset_dir ct --output_dir out --checkpoint plain.pt --report True",
        ),
    ],
)
def test_a_typed_line_becomes_a_line_of_the_bundle(
    line: str, files: str, flags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(f"evaluate {line}", capsys) == Line(
        "evaluating", [f"{file}.json" for file in files.split()], shlex.split(flags)
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--data ct -o out", "expected --run, the output folder of a training, or --weights"),
        ("--run run --weights plain.pt --data ct", "expected --run, the output folder of a training, or --weights"),
        ("--weights plain.pt -o out", "expected --data, a data set with test patients"),
        ("--weights plain.pt --data ct", "expected -o, the folder of the results"),
        ("--run ct --data ct", "ct: expected a folder with model.pt or models/model.pt in it"),
        ("--run run --data run", "run: holds no datalist.json"),
    ],
)
def test_wrong_input_is_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *shlex.split(line)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error


def test_the_scheme_is_not_compared() -> None:
    assert not TrainedFor(method="joint").differences({"method": "cycle"})
    assert TrainedFor(method="joint").reversed().method == "joint"
