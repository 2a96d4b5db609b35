from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.commands import inference_command, prepare_command, training_command
from monai_nce.data.dataset.writer import DatasetWriter

ROOT = Path(__file__).resolve().parents[2]


def dataset(
    folder: Path, source: str = "nect", roles: tuple[str, ...] = ("source", "target"), **provenance: object
) -> Path:
    with DatasetWriter(
        folder, name="n", description="d", licence="l", source_domain=source, provenance=provenance
    ) as out:
        for role in roles:
            out.add("training", role, np.eye(4), **{role: np.zeros((2, 2, 2))})
    return folder


@pytest.mark.parametrize(
    ("source", "provenance", "configs"),
    [
        ("nect", {"tool": "data_prep ct", "size": 128}, ["train"]),
        ("nect", {"tool": "data_prep ct", "size": 256}, ["train", "paper"]),
        ("t2", {"tool": "data_prep ixi", "size": 128}, ["train", "ixi"]),
        ("nect", {"tool": "data_prep register", "original": {"size": 128}}, ["train", "regression"]),
        (
            "nect",
            {"tool": "data_prep register", "auxiliary": {}, "original": {"size": 256}},
            ["train", "registered", "paper"],
        ),
        ("t2", {"tool": "data_prep register", "original": {"size": 128}}, ["train", "regression", "ixi"]),
        ("t1", {"tool": "data_prep mr-pairs", "scale": "common"}, ["train", "ixi", "t1ce"]),
        ("t1", {"tool": "data_prep register", "original": {"scale": "common"}}, ["train", "regression", "ixi", "t1ce"]),
        ("nect", {}, ["train"]),
    ],
)
def test_training_on_a_data_set(source: str, provenance: dict[str, object], configs: list[str], tmp_path: Path) -> None:
    command = shlex.split(training_command(dataset(tmp_path / "a set", source, **provenance)))
    assert command[:5] == ["python", "-m", "monai.bundle", "run", "training"]
    assert command[command.index("--dataset_dir") + 1] == str(tmp_path / "a set")
    files = re.findall(r"bundles/[\w/.]+", command[command.index("--config_file") + 1])
    assert [Path(file).stem for file in files] == configs
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize("role", ["source", "target"])
def test_a_data_set_of_one_kind_is_mixed_into_another(role: str, tmp_path: Path) -> None:
    folder = dataset(tmp_path / "it's a set", roles=(role,))
    command = shlex.split(training_command(folder))
    assert command[command.index("--dataset_dir") + 1] == "MAIN"
    assert ast.literal_eval(command[command.index("--mixture") + 1]) == {str(folder): 0.2}


def test_names_are_quoted_for_the_shell() -> None:
    for command in (inference_command(Path("a b.nii")), prepare_command(Path("a b.nii"))):
        assert "a b.nii" in shlex.split(command)
    assert (ROOT / "bundles/nce/configs/inference.json").is_file()


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
