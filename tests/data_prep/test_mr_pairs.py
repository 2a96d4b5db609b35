from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from data_prep import mr_pairs
from data_prep.__main__ import main
from data_prep.commands import training_command
from data_prep.mr_pairs import prepare_mr_pairs
from monai_nce.cli.training_choice import choose_training
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.dataset.pairs import evaluation_pairs
from monai_nce.errors import InputError

Scan = Callable[..., Path]
AFFINE = np.array([[2.0, 0, 0, -40], [0, 2, 0, -30], [0, 0, 2, -5], [0, 0, 0, 1]])
HEAD, BLOCK = (slice(6, 34), slice(6, 34), slice(2, 16)), (slice(17, 23), slice(17, 23), slice(6, 12))
SMALL: dict[str, Any] = {"size": 40, "slices": 10, "progress": False}
Patterns = tuple[str, str]


def scans_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A head of 500, in units of three times as much after the contrast medium, when a block of it is 2.8 times that.

    The patients' numbers make their images differ, far outside the head.
    """
    before = np.zeros((40, 40, 20))
    before[HEAD] = 500
    before[0, 0, 18] = 400 + number
    after = 3 * before
    after[BLOCK] *= 1.6
    return before, after


@pytest.fixture(autouse=True)
def no_sheets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contact sheets take a second each; the command's test has one."""
    if request.function is not test_the_command:
        monkeypatch.setattr(mr_pairs, "write_contact_sheets", lambda *given: 0)


@pytest.fixture
def patterns(write_scan: Scan, tmp_path: Path) -> Patterns:
    for number, name in enumerate("abcd"):
        for file, volume in zip(("t1", "t1_post"), scans_of(number), strict=True):
            write_scan(tmp_path / "in" / name / f"{file}.nii.gz", volume, AFFINE)
    return f"{tmp_path}/in/{{patient}}/t1.nii.gz", f"{tmp_path}/in/{{patient}}/t1_post.nii.gz"


def images_of(item: dict[str, str]) -> dict[str, np.ndarray]:
    roles = ("source", "target", "aligned_source", "labels")
    return {role: np.asarray(nib.load(item[role]).dataobj) for role in roles}


def test_the_rise_survives_on_a_common_scale_alone(patterns: Patterns, tmp_path: Path) -> None:
    """The block is 0.67 % of the voxels, so the 99.5th percentile after the contrast medium is its own value."""
    for scale, (whole, block) in {"common": (1000, 1600), "own": (625, 1000)}.items():
        out = prepare_mr_pairs(*patterns, tmp_path / scale, scale=scale, hold_out=["b"], **SMALL)
        (item,) = read_datalist(out, "test")
        images = images_of(item)
        # the head's middle slice is 8 of 2 to 15: slices 3 to 12 are kept
        expected = np.zeros((40, 40, 10))
        expected[6:34, 6:34] = 1000
        np.testing.assert_array_equal(images["source"], expected)
        expected[6:34, 6:34] = whole
        expected[17:23, 17:23, 3:9] = block
        np.testing.assert_array_equal(images["target"], expected)
        affine = AFFINE.copy()
        affine[2, 3] += 3 * 2
        np.testing.assert_array_equal(nib.load(item["target"]).affine, affine)
        assert images["labels"].max() == (2 if scale == "common" else 1)
        row = next(row for row in json.loads((out / "report.json").read_text())["subjects"] if row["subject"] == "b")
        assert row["full_scale"] == {"t1": 500, "t1ce": 1500 if scale == "common" else 2400}


def test_patients_are_held_out_by_name(patterns: Patterns, tmp_path: Path) -> None:
    splits = {}
    for name in "ad":
        out = prepare_mr_pairs(*patterns, tmp_path / name, hold_out=[name], distortion=0.05, **SMALL)
        splits[name] = {item["patient"]: item["split"] for item in read_datalist(out)}
        assert all(pair["aligned"] for pair in evaluation_pairs(read_datalist(out, "test")))
        for item in read_datalist(out):
            images = images_of(item)
            moved = item["split"] == "training"
            assert (abs(images["source"] - images["target"]).max() > 700) == moved
            assert np.array_equal(images["source"], images["aligned_source"]) != moved
            # the label map lies on the target, distorted or not
            assert np.median(images["target"][images["labels"] == 2]) > 1500
    assert splits == {one: {name: "test" if name == one else "training" for name in "abcd"} for one in "ad"}
    out = prepare_mr_pairs(*patterns, tmp_path / "more", hold_out=["a", "c"], validation_fraction=0.5, **SMALL)
    count = [len(read_datalist(out, split)) for split in ("training", "validation", "test")]
    assert count == [1, 1, 2]


def test_storage_does_not_matter(patterns: Patterns, write_scan: Scan, tmp_path: Path) -> None:
    """The two scans of a patient may be stored in different orders, and their corners may differ by a rounding."""
    before = prepare_mr_pairs(*patterns, tmp_path / "before", hold_out=["a"], **SMALL)
    image = nib.load(tmp_path / "in" / "a" / "t1_post.nii.gz")
    turn = nib.orientations.ornt_transform(*map(nib.orientations.axcodes2ornt, ("RAS", "PIL")))
    turned = image.as_reoriented(turn)
    affine = turned.affine
    affine[:3, 3] += 0.2
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), affine), tmp_path / "in" / "a" / "t1_post.nii.gz")
    after = prepare_mr_pairs(*patterns, tmp_path / "after", hold_out=["a"], **SMALL)
    for one, other in zip(read_datalist(before), read_datalist(after), strict=True):
        for role in ("source", "target", "labels"):
            assert Path(one[role]).read_bytes() == Path(other[role]).read_bytes()


def test_who_is_left_out_and_why(patterns: Patterns, write_scan: Scan, tmp_path: Path, capsys: Any) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 0.6
    write_scan(tmp_path / "in" / "a" / "t1_post.nii.gz", scans_of(0)[1], moved)
    (tmp_path / "in" / "b" / "t1_post.nii.gz").unlink()
    with pytest.raises(InputError, match=r"hold out: a: T1 and T1CE on different grids: .* voxels, up to 0.6 mm apart"):
        prepare_mr_pairs(*patterns, tmp_path / "out", hold_out=["a"], **SMALL)
    out = prepare_mr_pairs(*patterns, tmp_path / "out", hold_out=["d"], **SMALL)
    assert [item["patient"] for item in read_datalist(out)] == ["c", "d"]
    left_out = json.loads((out / "report.json").read_text())["left_out"]
    assert [row["reason"] for row in left_out] == [
        "T1 and T1CE on different grids: 40x40x20 and 40x40x20 voxels, up to 0.6 mm apart",
        "no T1CE scan",
    ]
    assert "2 left out; 1 T1 and T1CE on different grids; 1 no T1CE scan" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hold_out": ["x"]}, "hold out: x: expected one of a, b, c, d"),
        ({"hold_out": list("abcd")}, "hold out: expected a patient that is not held out"),
        ({"source_name": "CT"}, "expected that of an MR sequence, which has no 'CT' in it, but got 'CT'"),
        ({"source_name": "t1ce"}, "names: expected two of them but got t1ce and T1CE"),
        ({"scale": "mine"}, "scale: expected common or own but got 'mine'"),
        ({"slices": 21}, "can be used; the first of 4, a: too few slices: 20"),
        ({"validation_fraction": 0.8}, "validation fraction: expected 0 to below 0.8 but got 0.8"),
    ],
)
def test_wrong_options_write_nothing(options: dict[str, Any], message: str, patterns: Patterns, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        prepare_mr_pairs(*patterns, tmp_path / "out", **{**SMALL, **options})
    assert not (tmp_path / "out").exists()


def test_scans_that_cannot_be_right_write_nothing(patterns: Patterns, write_scan: Scan, tmp_path: Path) -> None:
    file = tmp_path / "in" / "c" / "t1_post.nii.gz"
    whole = scans_of(2)[1]
    empty = np.where(np.indices(whole.shape)[0] < 31, 0, whole)
    for volume, message in (
        (scans_of(0)[0], r"c/t1_post.nii.gz: the same image as .*a/t1.nii.gz"),
        (scans_of(2)[0], r"c/t1_post.nii.gz: the same image as .*c/t1.nii.gz"),
        (whole - 1000, "c/t1_post.nii.gz: expected MR intensities, from 0 up, but got values from -1000 to 1400"),
        (empty, "T1 and T1CE of c: expected both to show the head, but half of it is empty"),
    ):
        write_scan(file, volume, AFFINE)
        with pytest.raises(InputError, match=message):
            prepare_mr_pairs(*patterns, tmp_path / "out", **SMALL)
        assert not (tmp_path / "out").exists()


def test_the_command(patterns: Patterns, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    given = ["mr-pairs", "--source", patterns[0], "--target", patterns[1], "--output-dir", str(out), "--size", "40"]
    given += ["--slices", "10", "--hold-out", "a", "--hold-out", "b", "--licence", "CC BY", "--distortion", "0.02"]
    assert main(given) == 0
    about = read_datalist_file(out)
    assert about["licence"] == "CC BY" and about["kind"] == "real"
    assert (about["source_domain"], about["target_domain"]) == ("t1", "t1ce")
    assert about["provenance"] == {
        "tool": "data_prep mr-pairs",
        "names": ["T1", "T1CE"],
        "scale": "common",
        "labels": {"head": 1, "enhancing": 2},
        "size": 40,
        "slices": 10,
        "distortion": 0.02,
        "seed": 0,
        "hold_out": ["a", "b"],
        "validation_fraction": 0.0,
    }
    shown = capsys.readouterr().out
    assert "mr-pairs: 4 patients (2 training, 0 validation, 2 test), 0 left out" in shown
    assert f"next: {training_command(out)}" in shown
    assert choose_training(read_datalist_file(out)) == ("separate", ["ixi", "t1ce"], {})
    sheet = imread(out / "contact_sheet.png")
    assert sheet.shape[0] > sheet.shape[1] / 2
    assert main([*given, "--overwrite", "--scale", "own", "--source-name", "T2", "--target-name", "T2 FLAIR"]) == 0
    assert choose_training(read_datalist_file(out)) == ("separate", ["ixi"], {"target_name": "T2 FLAIR"})


def test_the_real_pairs(real_data: Path, tmp_path: Path) -> None:
    """Of a patient with a tumour and of one without; the brains were cut out of the heads, by others."""
    for patient in ("glioma1", "ms19"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / patient).symlink_to(real_data / "mr_contrast" / patient)
    patterns = [f"{tmp_path}/in/{{patient}}/{name}.nii.gz" for name in ("t1", "t1_post")]
    given: dict[str, Any] = {"hold_out": ["glioma1"], "size": 64, "slices": 20, "progress": False}
    out = prepare_mr_pairs(*patterns, tmp_path / "out", **given)
    assert [item["patient"] for item in read_datalist(out, "training")] == ["ms19"]
    for item in read_datalist(out):
        images = images_of(item)
        head, rise = images["labels"] > 0, images["target"] - images["source"].astype(float)
        assert 0.1 < head.mean() < 0.5 and images["source"][~head].mean() < 20
        # most of the brain does not change, what takes the medium up does, and little of it is clipped
        assert abs(np.median(rise[head])) < 120 and np.median(rise[images["labels"] == 2]) > 300
        assert (images["target"][head] >= 2000).mean() < 0.02
