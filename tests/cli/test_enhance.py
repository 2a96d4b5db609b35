from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from monai_nce.cli.app import main
from monai_nce.cli.run_bundle import bundle_folder


@pytest.fixture(autouse=True)
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCE_WEIGHTS_DIR", str(tmp_path / "weights"))
    for name in ("a.nii", "b #2.nii", "models/model.pt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


def flags(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What a dry run printed, behind the configuration file."""
    line = shlex.split(capsys.readouterr().out)
    assert line[1:5] == ["-m", "monai.bundle", "run", "inferring"]
    assert line[5:7] == ["--config_file", str(bundle_folder() / "configs" / "inference.json")]
    return line[7:]


SHIPPED = str(bundle_folder() / "models" / "model.pt")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("a.nii -o out", f"--input a.nii --output_dir out --checkpoint {SHIPPED} --output_format nifti --report True"),
        (
            "'b #2.nii' a.nii -o out --format both --weights . --strict --skip-existing --keep-patient-data "
            "--uncertainty --uncertainty-dicom",
            """--input "['b #2.nii', 'a.nii']" --output_dir out --checkpoint models/model.pt --output_format both
            --strict True --skip_existing True --report True --uncertainty True --uncertainty_dicom True
            --keep_patient_data True""",
        ),
        (
            "a.nii --output-dir=-o --no-report --phase portal --level 1.5 --stride 3 --device cuda:1 --only all "
            "--set batch_size=2",
            f"""--input a.nii --output_dir ./-o --checkpoint {SHIPPED} --output_format nifti --phase portal
            --level 1.5 --stride 3 --device cuda:1 --only all --batch_size 2""",
        ),
    ],
)
def test_a_typed_line_becomes_a_line_of_the_bundle(
    typed: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["enhance", "--dry-run", *shlex.split(typed)]) == 0
    assert flags(capsys) == shlex.split(expected)


def test_several_jobs_are_numbered_as_torchrun_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enhance", "a.nii", "-o", "out", "--jobs", "2", "--dry-run"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert shlex.split(first)[:5] == ["env", "RANK=0", "LOCAL_RANK=0", "WORLD_SIZE=2", "LOCAL_WORLD_SIZE=2"]
    assert first.replace("RANK=0", "RANK=1") == second


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("c.nii -o out", "c.nii: no such file or folder"),
        ("a.nii", "Missing option '--output-dir'"),
        ("a.nii -o out --weights nobody", "expected a file, a training's folder or one of default but got nobody"),
        ("a.nii -o out --device gpu", "--device: expected cpu, cuda or cuda:N but got gpu"),
        ("a.nii -o out --format jpg", "'jpg' is not one of 'nifti', 'dicom', 'both'"),
        ("a.nii -o out --stride 0", "--stride"),
        ("a.nii -o out --set seed", "seed: expected KEY=VALUE"),
    ],
)
def test_wrong_input_is_one_line(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["enhance", *shlex.split(typed)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and said in error


def test_a_program_is_told_what_is_wrong(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", sys.stdout)
    assert main(["enhance", "c.nii", "-o", "out", "--json"]) == 2
    said = capfd.readouterr()
    assert json.loads(said.out) == {"event": "error", "message": "c.nii: no such file or folder"}
    assert said.err == "error: c.nii: no such file or folder\n"
