from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep import ixi_like, ixi_like_brain
from data_prep.__main__ import main
from data_prep.ixi_like import write_ixi_like_dataset
from data_prep.mri_dataset import AcquiredPair
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.errors import InputError

SMALL = ["ixi-like", "--subjects", "3", "--size", "32", "--slices", "4"]


def test_only_the_distortion_depends_on_k(tmp_path: Path) -> None:
    outs = [
        write_ixi_like_dataset(tmp_path / str(k), subjects=4, size=32, slices=4, distortion=k, progress=False)
        for k in (0.0, 0.05)
    ]
    still, moved = (read_datalist(out) for out in outs)
    assert [item["split"] for item in still] == ["training", "training", "validation", "test"]
    for one, other in zip(still, moved, strict=True):
        assert (one["patient"], one["split"]) == (other["patient"], other["split"])
        assert Path(one["source"]).read_bytes() == Path(other["source"]).read_bytes()
        same = Path(one["target"]).read_bytes() == Path(other["target"]).read_bytes()
        assert same == (one["split"] != "training")
        assert one["aligned_source"] == one["source"]
        assert (other["aligned_source"] == other["source"]) == (one["split"] != "training")
    report = json.loads((outs[1] / "report.json").read_text())
    assert [row["distortion_matrix"] is not None for row in report["subjects"]].count(True) == 2


def test_the_split_of_24(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crude(index: int, size: int, slices: int, seed: int) -> AcquiredPair:
        volume = np.random.default_rng(index).uniform(0, 1, (size, size, slices)).astype(np.float32)
        return AcquiredPair(volume, volume, np.eye(4))

    monkeypatch.setattr(ixi_like, "make_pair", crude)
    about = read_datalist_file(write_ixi_like_dataset(tmp_path, size=32, slices=1, progress=False))
    assert (about["numTraining"], about["numValidation"], about["numTest"]) == (15, 3, 6)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [*SMALL, "--out-dir", str(tmp_path / "set"), "--distortion", "0.02", "--seed", "5"]
    assert main(given) == 0
    about = read_datalist_file(tmp_path / "set")
    assert (about["source_domain"], about["target_domain"]) == ("t2", "pd")
    assert "Louis Collins" in about["licence"]
    assert about["provenance"] == {
        "generator": "data_prep.ixi_like_brain",
        "generator_version": 1,
        "subjects": 3,
        "size": 32,
        "slices": 4,
        "distortion": 0.02,
        "seed": 5,
    }
    assert "ixi-like" in capsys.readouterr().err  # the bar's name
    assert main(given) == 2
    assert "already there" in capsys.readouterr().err


def test_bad_numbers_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--out-dir", str(tmp_path / "set"), "--distortion", "-1"]) == 2
    assert capsys.readouterr().err == "error: distortion: expected 0 or more but got -1\n"
    with pytest.raises(InputError, match="expected at least one subject but got 0"):
        write_ixi_like_dataset(tmp_path / "set", subjects=0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_template_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise InputError("ixi-like needs nilearn")

    monkeypatch.setattr(ixi_like_brain, "_template", missing)
    assert main([*SMALL, "--out-dir", str(tmp_path / "set")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: ixi-like needs nilearn"
    assert list(tmp_path.iterdir()) == []
