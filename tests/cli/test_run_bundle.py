from __future__ import annotations

import ast
import sys

import pytest

from monai_nce.cli.run_bundle import bundle_command, bundle_folder, run_command


def test_one_file_is_its_path() -> None:
    command = bundle_command("inferring", ["inference.json"], {"input": "a b", "only": None, "stride": 2})
    assert command[:5] == [sys.executable, "-m", "monai.bundle", "run", "inferring"]
    assert command[5:7] == ["--config_file", str(bundle_folder() / "configs" / "inference.json")]
    assert command[7:] == ["--input", "a b", "--stride", "2"]


def test_several_files_are_a_list() -> None:
    command = bundle_command("training", ["train.json", "joint.json", "mine.json"], {})
    files = ast.literal_eval(command[command.index("--config_file") + 1])
    assert [file.rpartition("/")[2] for file in files] == ["train.json", "joint.json", "mine.json"]
    assert files[2] == "mine.json"


def test_several_processes_are_started_by_torchrun() -> None:
    assert bundle_command("inferring", ["inference.json"], {}, 2)[1:5] == [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
    ]


def test_a_dry_run_prints_what_a_shell_would_take(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["python", "-c", "print('a b')"], dry_run=True)
    assert capsys.readouterr().out == """python -c 'print('"'"'a b'"'"')'\n"""
