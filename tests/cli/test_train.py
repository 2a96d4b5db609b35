from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path

import pytest

from monai_nce.cli.app import main
from monai_nce.cli.run_bundle import bundle_folder
from monai_nce.cli.train import Preset, Scheme
from monai_nce.cli.training_choice import PRESETS, SCHEMES
from monai_nce.command_line import read_flags
from tests.cli.typed import Line, typed


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    about = {"ct": {}, "mri": {"source_domain": "t2"}, "registered": {"provenance": {"tool": "data_prep register"}}}
    for name, said in about.items():
        Path(name).mkdir()
        Path(name, "datalist.json").write_text(json.dumps({"training": [], "validation": [], "test": [], **said}))
    Path("joint.json").write_text("{}")
    Path("trained/models").mkdir(parents=True)
    Path("trained/models/model.pt").touch()
    Path("ours").mkdir()
    Path("ours", "model.pt").touch()


@pytest.mark.parametrize(
    ("line", "files", "flags"),
    [
        ("--data ct -o out", "train", "--dataset_dir ct --output_dir out"),
        ("-o out", "train", "--phantom_dir out/phantom --output_dir out"),
        (
            "--data ct -o out --init-weights ours",
            "train",
            "--dataset_dir ct --output_dir out --init_weights ours/model.pt",
        ),
        ("--data ct -o out --scheme joint", "train joint", "--dataset_dir ct --output_dir out"),
        ("--data ct -o out --scheme oracle", "train regression oracle", "--dataset_dir ct --output_dir out"),
        ("--data mri -o out --preset paper-ixi", "train paper paper_ixi", "--dataset_dir mri --output_dir out"),
        ("--data registered -o out", "train regression", "--dataset_dir registered --output_dir out"),
        (
            "--data ct -o out --conditional --augment --preset paper-ct --resume --seed 3 --precision bf16",
            "train conditional augmentation paper",
            "--dataset_dir ct --output_dir out --resume True --seed 3 --precision bf16",
        ),
        (
            "--data ct -o out --epochs 2 --overwrite --device cpu"
            " --mlflow 'stage1#max_epochs=4' 'mixture={\"a\": 0.2}'",
            "train",
            "--dataset_dir ct --output_dir out --overwrite True --classifier#max_epochs 2 --stage1#max_epochs 4"
            " --stage2#max_epochs 2 --device cpu --mlflow True --mixture '{\"a\": 0.2}'",
        ),
    ],
)
def test_a_typed_line_becomes_a_line_of_the_bundle(
    line: str, files: str, flags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    got = typed(f"train {line}", capsys)
    assert got == Line("training", [f"{file}.json" for file in files.split()], shlex.split(flags, comments=False))
    read_flags(got.whole)


def test_an_overlay_is_the_file_that_was_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "ct", "-o", "out", "--overlay", "joint.json", "--dry-run"]) == 0
    command = shlex.split(capsys.readouterr().out)
    assert ast.literal_eval(command[command.index("--config_file") + 1]) == [
        str(bundle_folder() / "configs" / "train.json"),
        str(Path("joint.json").absolute()),
    ]


def test_several_processes_train_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "ct", "-o", "out", "--scheme", "cycle", "--jobs", "2", "--dry-run"]) == 0
    command = shlex.split(capsys.readouterr().out)
    assert command[1:5] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    files = ast.literal_eval(command[command.index("--config_file") + 1])
    assert [Path(file).name for file in files] == ["train.json", "cycle.json", "multi_gpu_train.json"]


def test_the_names_are_those_of_the_tables() -> None:
    assert [scheme.value for scheme in Scheme] == list(SCHEMES)
    assert [preset.value for preset in Preset] == list(PRESETS)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--data no -o out", "no: expected a data set, with datalist.json, but found none; see nce prepare"),
        ("--data ct", "Missing option '--output-dir'"),
        ("--data ct -o out --scheme separately", "--scheme"),
        ("--data ct -o out --preset paper-ixi", "--preset paper-ixi: made for MRI, but the data set is of CT"),
        ("--data ct -o out True", "True: expected KEY=VALUE"),
        ("--data ct -o out --overlay no.json", "no.json: no such configuration file"),
        ("--data ct -o out --epochs 0", "--epochs"),
        ("--data ct -o out --jobs 2 seeds=1", "--seeds: the configuration has no key seeds; did you mean --seed?"),
        ("--data ct -o trained --jobs 2", "choose another -o, or train anew with --overwrite"),
    ],
)
def test_wrong_input_is_one_line(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *shlex.split(line)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error
