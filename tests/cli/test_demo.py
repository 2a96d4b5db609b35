from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from monai_nce.cli import demo
from monai_nce.cli.app import main
from monai_nce.terminal import GO_ON

RESULT = "scan_synthetic_cect"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(GO_ON, "")


def flags(command: Sequence[str]) -> list[str]:
    return list(command[command.index("--config_file") + 2 :])


def test_each_step_takes_what_the_one_before_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[list[str]] = []

    def run_steps(commands: Iterable[Sequence[str]], dry_run: bool) -> None:
        for command in commands:
            done.append([command[4], *flags(command)])
            if len(done) == 1:
                Path("a #1/phantom").mkdir(parents=True)
                Path("a #1/phantom/scan.nii").touch()
                Path("a #1/phantom/datalist.json").write_text(json.dumps({"test": [{"source": "scan.nii"}]}))
            elif len(done) == 2:
                Path("a #1/inference").mkdir()
                for kind in ("nii.gz", "png", "html"):
                    Path(f"a #1/inference/{RESULT}.{kind}").write_text(kind)

    monkeypatch.setattr(demo, "run_steps", run_steps)
    assert main(["demo", "-o", "a #1", "phantom#patients=4"]) == 0
    train, enhance, evaluate = done
    assert train == shlex.split(
        "training --phantom_dir 'a #1/phantom' --output_dir 'a #1' --resume True '--phantom#patients' 4"
    )
    assert enhance[:5] == ["inferring", "--input", "a #1/phantom/scan.nii", "--output_dir", "a #1/inference"]
    assert evaluate[:5] == ["evaluating", "--dataset_dir", "a #1/phantom", "--output_dir", "a #1"]
    for command in (enhance, evaluate):
        assert command[5:7] == ["--checkpoint", "a #1/models/model.pt"]
    assert Path("a #1/enhanced.png").read_text() == "png"
    assert capsys.readouterr().out.startswith("Look at a #1/report.html; a #1/enhanced.html is")


def test_a_dry_run_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--dry-run"]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert [command[4] for command in commands] == ["training", "inferring", "evaluating"]
    assert not list(tmp_path.iterdir())
