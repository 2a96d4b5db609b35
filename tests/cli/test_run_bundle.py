from __future__ import annotations

import ast
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from typer import Exit

from monai_nce.cli.run_bundle import (
    bundle_command,
    bundle_folder,
    choose_output,
    run_command,
    run_side_by_side,
    run_steps,
)
from monai_nce.errors import InputError
from monai_nce.terminal import GO_ON, OUTPUT


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


@pytest.mark.parametrize(("statuses", "expected"), [("[0, 0]", 0), ("[0, 3]", 3), ("[3, 2]", 2), ("[1, 3]", 1)])
def test_side_by_side_a_fault_counts_before_what_was_left_out(statuses: str, expected: int) -> None:
    ends = f"import os; os._exit({statuses}[int(os.environ['RANK'])])"
    with pytest.raises(Exit) as ended:
        run_side_by_side([sys.executable, "-S", "-c", ends], 2)
    assert ended.value.exit_code == expected


def test_a_value_that_begins_like_a_flag_stays_with_its_flag() -> None:
    assert bundle_command("inferring", ["inference.json"], {"level": -1})[7:] == ["--level=-1"]


@pytest.mark.parametrize(("first", "second", "expected"), [("0", "0", None), ("2", "0", 2), ("0", "3", 3)])
def test_steps_end_with_the_first_that_fails(first: str, second: str, expected: int | None) -> None:
    commands = [[sys.executable, "-S", "-c", f"raise SystemExit({status})"] for status in (first, second)]
    if expected is None:
        run_steps(commands)
        return
    with pytest.raises(Exit) as ended:
        run_steps(commands)
    assert ended.value.exit_code == expected


def test_interrupted_work_is_taken_up_by_the_same_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (OUTPUT, GO_ON):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(sys, "argv", ["nce", "train", "--overwrite", "-o", "a b", "seed=1"])
    choose_output(quiet=True, as_json=False, go_on="--resume")
    assert (os.environ[OUTPUT], os.environ[GO_ON]) == ("quiet", "nce train --resume -o 'a b' seed=1")
    with pytest.raises(InputError, match="^--quiet, --json: expected one of them$"):
        choose_output(quiet=True, as_json=True)


def test_monai_s_program_runs_with_the_manners_of_nce(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda file, words: started.append(words))
    monkeypatch.setattr(subprocess, "run", lambda words: subprocess.CompletedProcess(words, 0))
    for processes in (1, 2):
        command = bundle_command("training", ["train.json"], {"output_dir": "monai.bundle"}, processes)
        with suppress(Exit):  # where a process cannot become another, as here
            run_command(command)
        plain = [word.replace("monai_nce.cli.program", "monai.bundle") for word in started[-1]]
        assert plain == command and started[-1].count("monai_nce.cli.program") == 1
