from __future__ import annotations

import ast
import sys

import pytest
from typer import Exit

from monai_nce.cli.run_bundle import bundle_command, bundle_folder, run_command, run_side_by_side


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
