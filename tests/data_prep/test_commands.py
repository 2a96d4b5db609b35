from __future__ import annotations

import ast
import shlex
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.commands import inference_command, prepare_command, training_command
from monai_nce.data.dataset.writer import DatasetWriter


def dataset(folder: Path, roles: tuple[str, ...] = ("source", "target")) -> Path:
    with DatasetWriter(folder, name="n", description="d", licence="l", provenance={}) as out:
        for role in roles:
            out.add("training", role, np.eye(4), **{role: np.zeros((2, 2, 2))})
    return folder


def test_training_on_a_data_set(tmp_path: Path) -> None:
    command = shlex.split(training_command(dataset(tmp_path / "a set")))
    assert command == ["nce", "train", "--data", str(tmp_path / "a set"), "-o", "DIR"]


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_data_set_of_one_kind_is_mixed_into_another(role: str, tmp_path: Path) -> None:
    folder = dataset(tmp_path / "it's a set", roles=(role,))
    command = shlex.split(training_command(folder))
    assert command[:-1] == ["nce", "train", "--data", "MAIN", "-o", "DIR"]
    assert ast.literal_eval(command[-1].removeprefix("mixture=")) == {str(folder): 0.2}


def test_names_are_quoted_for_the_shell() -> None:
    for command in (inference_command(Path("a b.nii")), prepare_command(Path("a b.nii"))):
        assert "a b.nii" in shlex.split(command)
    assert inference_command(Path("-a.nii")) == "nce enhance ./-a.nii -o DIR"


def test_a_command_ends_with_the_next_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert main(["phantom", "--patients", "2", "--size", "32", "--slices", "4", "--output_dir", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {training_command(out)}"
    volumes = sorted(str(path) for path in (out / "volumes").glob("*_source.nii"))
    assert main(["inspect", volumes[0]]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {inference_command(Path(volumes[0]))}"
    assert main(["inspect", str(out / "volumes")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"next: {prepare_command(out / 'volumes')}"
    assert main(["inspect", volumes[0], "--json"]) == 0
    assert "next: " not in capsys.readouterr().out
