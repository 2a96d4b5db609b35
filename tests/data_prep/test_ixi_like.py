from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from data_prep import ixi_like
from data_prep.__main__ import main
from data_prep.ixi_like import make_pair, write_ixi_like_dataset
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
    assert capsys.readouterr().err == "error: --distortion: expected a number, 0 or more but got -1\n"
    with pytest.raises(InputError, match="expected at least one subject but got 0"):
        write_ixi_like_dataset(tmp_path / "set", subjects=0)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_template_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise InputError("ixi-like needs nilearn")

    monkeypatch.setattr(ixi_like, "_template", missing)
    assert main([*SMALL, "--out-dir", str(tmp_path / "set")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: ixi-like needs nilearn"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def subject() -> AcquiredPair:
    return make_pair(3, size=128, slices=10)


def test_the_grid_is_centred(subject: AcquiredPair) -> None:
    assert subject.source.shape == subject.target.shape == (128, 128, 10)
    np.testing.assert_allclose(np.diag(subject.affine), [1.875, 1.875, 8, 1])
    np.testing.assert_allclose(subject.affine @ [63.5, 63.5, 4.5, 1], [0, -18, 8, 1])


def test_a_subject_comes_back_and_others_differ(subject: AcquiredPair) -> None:
    again = make_pair(3, size=128, slices=10)
    np.testing.assert_array_equal(again.source, subject.source)
    np.testing.assert_array_equal(again.target, subject.target)
    for other in (make_pair(4, size=128, slices=10), make_pair(3, size=128, slices=10, seed=1)):
        assert abs(other.source - subject.source).mean() > 0.02


def test_another_grid_shows_the_same_brain(subject: AcquiredPair) -> None:
    fine = make_pair(3, size=256, slices=10)
    binned = fine.target.reshape(128, 2, 128, 2, 10).mean(axis=(1, 3))
    brain = subject.target > 0.4
    assert np.corrcoef(binned[brain], subject.target[brain])[0, 1] > 0.9
    assert abs(binned - subject.target)[brain].mean() < 0.03


def test_tissues_have_the_contrast_of_t2_and_pd(subject: AcquiredPair) -> None:
    """In T2 water is far the brightest; in PD tissues are near each other, grey above white matter."""
    brain = subject.target > 0.4
    t2, pd = subject.source[brain], subject.target[brain]
    assert 0.05 < brain.mean() < 0.5
    water = t2 > 0.5
    assert 0.02 < water.mean() < 0.4
    # the spin-echo equation with the values of the table, for CSF, grey and white matter
    wanted = {"t2": (0.71, 0.26, 0.18), "pd": (0.94, 0.78, 0.69)}
    grey, white = (t2 > 0.23) & (t2 < 0.30), (t2 > 0.13) & (t2 < 0.19)
    assert grey.mean() > 0.15 and white.mean() > 0.15
    assert np.percentile(t2[water], 90) == pytest.approx(wanted["t2"][0], abs=0.12)
    assert pd[grey].mean() == pytest.approx(wanted["pd"][1], abs=0.09)
    assert pd[white].mean() == pytest.approx(wanted["pd"][2], abs=0.09)
    assert pd[grey].mean() > pd[white].mean() + 0.03


def test_pd_is_no_function_of_t2(subject: AcquiredPair) -> None:
    brain = subject.target > 0.4
    t2, pd = subject.source[brain], subject.target[brain]
    bins = np.digitize(t2, np.percentile(t2, np.arange(2, 100, 2)))
    within = sum(pd[bins == index].var() * (bins == index).sum() for index in range(50)) / len(pd)
    assert within > 0.1 * pd.var()


def test_the_background_is_noise(subject: AcquiredPair) -> None:
    """Rician without a signal is Rayleigh: mean over standard deviation is 1.91. Each scan has its own."""
    corner = (slice(0, 12), slice(0, 12))
    for scan in (subject.source, subject.target):
        assert scan[corner].mean() / scan[corner].std() == pytest.approx(1.91, abs=0.1)
    assert abs(np.corrcoef(subject.source[corner].ravel(), subject.target[corner].ravel())[0, 1]) < 0.1


def test_nilearn_is_not_imported(subject: AcquiredPair) -> None:
    """Its files are read without it: importing it costs seconds."""
    assert "nilearn" not in sys.modules


def test_without_nilearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the brain template that nilearn ships: pip install .*\[ixi-like\]"):
        ixi_like._template.__wrapped__()
