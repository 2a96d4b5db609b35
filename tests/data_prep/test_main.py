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
    with pytest.raises(SystemExit) as error:
        main([*PHANTOM, *bad, "--out-dir", str(tmp_path / "set")])
    assert error.value.code == 2
    assert bad[0] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_text("hello")
    given = ["ct", "--nect", str(path), "--cect", str(path), "--out-dir", str(tmp_path / "set")]
    assert main(given) == 2
    assert capsys.readouterr().err == f"error: {path}: not a readable NIfTI file\n"
    assert main([*given, "--spacing", "0"]) == 2
    assert capsys.readouterr().err == "error: --spacing: expected 0.1 to 10 mm but got 0.0\n"
    assert os.listdir(tmp_path) == ["a.nii.gz"]


def test_a_full_disk_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main([*PHANTOM, "--out-dir", str(tmp_path / "set")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: [Errno 28] No space left on device"
    assert list(tmp_path.iterdir()) == []
