"""What ``nce … --dry-run`` prints, taken apart."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from monai_nce.cli.app import main
from monai_nce.cli.run_bundle import bundle_folder


class Line(NamedTuple):
    """A command line of the bundle: workflow, names of its configuration files, and what follows."""

    workflow: str
    files: list[str]
    flags: list[str]

    @property
    def whole(self) -> list[str]:
        files = [str(bundle_folder() / "configs" / file) for file in self.files]
        return ["run", self.workflow, "--config_file", repr(files), *self.flags]


def typed(line: str, capsys: pytest.CaptureFixture[str]) -> Line:
    """The line of the bundle that a typed line becomes."""
    assert main([*shlex.split(line), "--dry-run"]) == 0
    command = shlex.split(capsys.readouterr().out)
    assert command[1:4] == ["-m", "monai.bundle", "run"] and command[5] == "--config_file"
    files = [command[6]] if command[6].startswith("/") else ast.literal_eval(command[6])
    assert {str(Path(file).parent) for file in files} == {str(bundle_folder() / "configs")}
    return Line(command[4], [Path(file).name for file in files], command[7:])
