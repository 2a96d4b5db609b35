from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_prep.__main__ import main
from monai_nce.data.dataset.datalist import read_datalist_file

PHANTOM = ["phantom", "--patients", "3", "--size", "32", "--slices", "2", "--seed", "4"]


def test_phantom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PHANTOM, "--out-dir", str(tmp_path / "set")]) == 0
    provenance = read_datalist_file(tmp_path / "set")["provenance"]
    assert {key: provenance[key] for key in ("patients", "size", "slices", "seed")} == {
        "patients": 3,
        "size": 32,
        "slices": 2,
        "seed": 4,
    }
    assert "phantom" in capsys.readouterr().err  # the bar's name
    assert main([*PHANTOM, "--out-dir", str(tmp_path / "set")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert main([*PHANTOM, "--out-dir", str(tmp_path / "set"), "--overwrite"]) == 0


@pytest.mark.parametrize("bad", [["--patients", "0"], ["--size", "31"], ["--slices", "x"], ["--seed", "-1"]])
def test_numbers_are_checked(bad: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PHANTOM, *bad, "--out-dir", str(tmp_path / "set")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {bad[0]}: expected a whole number, ") and line.endswith(f" but got {bad[1]}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "the following arguments are required: command"),
        (["phantoms"], "command: invalid choice: 'phantoms'"),
        (["phantom"], "the following arguments are required: -o/--output_dir"),
        (["phantom", "--output_dir", "/proc/x"], "-o/--output_dir: /proc/x: cannot be written: "),
        (
            ["phantom", "--output_dir", "x" * 300],
            "-o/--output_dir: " + "x" * 300 + ": cannot be written: expected a name of",
        ),
        (["phantom", "--output_dir", "x", "--patient_s", "3"], "unrecognized arguments: --patient_s 3"),
    ],
)
def test_wrong_options_are_one_line(given: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, other = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    path.write_text("hello")
    other.write_text("there")
    given = ["ct", "--nect", str(path), "--cect", str(other), "--out-dir", str(tmp_path / "set")]
    assert main(given) == 2
    assert capsys.readouterr().err == f"error: {path}: not a readable NIfTI file\n"
    assert main([*given, "--spacing", "0"]) == 2
    assert capsys.readouterr().err == "error: --spacing: expected a number from 0.1 to 10 but got 0\n"
    assert sorted(os.listdir(tmp_path)) == ["a.nii.gz", "b.nii.gz"]


def test_a_full_disk_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main([*PHANTOM, "--out-dir", str(tmp_path / "set")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: [Errno 28] No space left on device"
    assert list(tmp_path.iterdir()) == []
