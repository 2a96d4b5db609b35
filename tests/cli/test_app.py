from __future__ import annotations

import subprocess
import sys

import pytest

import monai_nce
from monai_nce.cli.app import main


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"monai-nce {monai_nce.__version__}\n"


def test_help_says_research_use_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "Research use only." in capsys.readouterr().out


def test_without_a_command_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert not capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["enhanse"], ["--verison"]])
def test_wrong_input_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1 and arguments[0] in said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--help"], "enhance"),
        (["enhance", ".", "-o", "out", "--dry-run"], "--output_dir out"),
        (["train", "-o", "out", "--dry-run"], "--output_dir out"),
        (["config", "seed"], "seed = 0"),
    ],
)
def test_what_answers_at_once_imports_no_heavy_library(typed: list[str], said: str) -> None:
    heavy = {"torch", "monai", "numpy", "fire", "nibabel", "fastapi"}
    ask = f"import sys; from monai_nce.cli.app import main; main({typed}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout
    assert said in done and not heavy & set(done.splitlines()[-1].split())
