from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from monai_nce.cli import passed_on
from monai_nce.cli.app import main
from monai_nce.cli.passed_on import PROGRAM, run_program
from monai_nce.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []
    monkeypatch.setattr(passed_on, "run_command", commands.append)
    for name in (PROGRAM, "PYTHONPATH"):  # set, so that it is put back
        monkeypatch.setenv(name, "")
    return commands


@pytest.mark.parametrize(
    ("typed", "program", "expected"),
    [
        ("prepare ct --studies 'a b' -o out", "nce prepare", "-m data_prep ct --studies 'a b' -o out"),
        ("prepare ct --help", "nce prepare", "-m data_prep ct --help"),
        ("prepare", "nce prepare", "-m data_prep --help"),
        ("inspect --json -- -odd-", "nce", "-m data_prep inspect --json -- -odd-"),
        ("convert scan -o out.nii.gz --series 2", "nce", "-m data_prep convert scan -o out.nii.gz --series 2"),
        ("table1 --data phantom --version", "nce table1", "-m benchmarks.table1 --data phantom --version"),
    ],
)
def test_everything_behind_the_command_is_passed_on(
    typed: str, program: str, expected: str, ran: list[list[str]]
) -> None:
    assert main(shlex.split(typed)) == 0
    assert ran == [[sys.executable, *shlex.split(expected)]]
    assert os.environ[PROGRAM] == program
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_a_module_of_the_package_is_taken_where_there_is_no_checkout(ran: list[list[str]]) -> None:
    run_program(["no_checkout", "monai_nce.settings"], ["x"], "nce")
    assert ran == [[sys.executable, "-m", "monai_nce.settings", "x"]]


def test_without_a_checkout_it_is_said_in_one_line(ran: list[list[str]]) -> None:
    with pytest.raises(
        InputError, match=r"^nce table1: no.table1 is part of the repository, .*: run it in a checkout$"
    ):
        run_program(["no.table1"], [], "nce table1")
    assert not ran
