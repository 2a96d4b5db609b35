from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from data_prep.__main__ import main
from data_prep.ixi import prepare_ixi
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.errors import InputError

Scan = Callable[..., Path]
Tar = Callable[..., Path]
AFFINE = np.array([[1.5, 0, 0, -20], [0, 1.5, 0, -30], [0, 0, 2.0, -5], [0, 0, 0, 1]])
SHAPE = (36, 36, 10)
SMALL: dict[str, Any] = {"size": 32, "slices": 6, "progress": False}


def head(number: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    noise = np.random.default_rng(number).uniform(0, 1, shape)
    return ndimage.gaussian_filter(noise, (3, 3, 1)) * 2000


@pytest.fixture
def scans(write_scan: Scan, tmp_path: Path) -> tuple[Path, Path]:
    """Ten subjects of three sites, in two folders."""
    for index in range(10):
        name = f"IXI{index:03d}-{('HH', 'Guys', 'IOP')[index % 3]}-{900 + index:04d}"
        write_scan(tmp_path / "T2" / f"{name}-T2.nii.gz", head(index), AFFINE)
        write_scan(tmp_path / "PD" / f"{name}-PD.nii.gz", head(index) + head(100 + index), AFFINE)
    return tmp_path / "T2", tmp_path / "PD"


def report_of(out_dir: Path) -> dict[str, Any]:
    return json.loads((out_dir / "report.json").read_text())


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_split_and_sites(scans: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = prepare_ixi(*scans, tmp_path / "out", **SMALL, seed=1)
    items = read_datalist(out)
    splits = [item["split"] for item in items]
    assert [splits.count(split) for split in ("training", "validation", "test")] == [8, 0, 2]
    about = read_datalist_file(out)
    assert (about["source_domain"], about["target_domain"]) == ("t2", "pd")
    assert about["provenance"]["distortion"] == 0 and about["provenance"]["seed"] == 1
    report = report_of(out)
    assert report["sites"] == {"Guys": 3, "HH": 4, "IOP": 3} and report["left_out"] == []
    assert {row["subject"]: row["site"] for row in report["subjects"]}["IXI004"] == "Guys"
    assert {row["subject"]: row["split"] for row in report["subjects"]} == {i["patient"]: i["split"] for i in items}
    assert sorted(os.listdir(out)) == ["datalist.json", "report.json", "volumes"]
    shown = f"ixi: 10 subjects (8 training, 0 validation, 2 test), 0 left out; see {out / 'report.json'}\n"
    assert capsys.readouterr().out == shown


def test_the_test_subjects_depend_on_the_seed_alone(scans: tuple[Path, Path], tmp_path: Path) -> None:
    def test_files(name: str, **options: Any) -> dict[str, bytes]:
        out = prepare_ixi(*scans, tmp_path / name, **SMALL, **options)
        items = read_datalist(out, "test")
        return {f"{i['patient']} {role}": Path(i[role]).read_bytes() for i in items for role in ("source", "target")}

    plain = test_files("a")
    assert plain == test_files("b", distortion=0.05, validation_fraction=0.2)
    assert len(read_datalist(tmp_path / "b", "validation")) == 2
    assert plain.keys() != test_files("c", seed=1).keys()
    report = report_of(tmp_path / "b")
    assert (report["distortion"], report["seed"]) == (0.05, 0)
    for row in report["subjects"]:
        assert (row["distortion_matrix"] is not None) == (row["split"] == "training")


def test_archives_give_the_same_as_folders(scans: tuple[Path, Path], as_tar: Tar, tmp_path: Path) -> None:
    tars = [as_tar(folder, tmp_path / f"IXI-{folder.name}.tar") for folder in scans]
    options = {**SMALL, "distortion": 0.02}
    assert content(prepare_ixi(*tars, tmp_path / "a", **options)) == content(
        prepare_ixi(*scans, tmp_path / "b", **options)
    )
    both = tmp_path / "both"
    both.mkdir()
    for folder in scans:
        for file in folder.iterdir():
            file.rename(both / file.name)
    assert content(prepare_ixi(both, both, tmp_path / "c", **options)) == content(tmp_path / "a")


def test_who_is_left_out_and_why(
    scans: tuple[Path, Path], write_scan: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    t2, pd = scans
    moved = AFFINE.copy()
    moved[2, 3] += 1
    sagittal = np.array([[0, 0, 2.0, -5], [1.5, 0, 0, -20], [0, 1.5, 0, -30], [0, 0, 0, 1]])
    (pd / "IXI001-Guys-0901-PD.nii.gz").unlink()
    (t2 / "IXI002-IOP-0902-T2.nii.gz").unlink()
    for folder, contrast in ((t2, "T2"), (pd, "PD")):
        write_scan(folder / f"IXI003-HH-0903-{contrast}.nii.gz", head(3, (36, 36, 5)), AFFINE)
        write_scan(folder / f"IXI006-HH-0906-{contrast}.nii.gz", head(6), sagittal)
    write_scan(pd / "IXI004-Guys-0904-PD.nii.gz", head(4, (36, 34, 10)), AFFINE)
    write_scan(pd / "IXI005-IOP-0905-PD.nii.gz", head(5), moved)
    write_scan(t2 / "IXI007-Guys-1907-T2.nii.gz", head(7), AFFINE)
    out = prepare_ixi(t2, pd, tmp_path / "out", **SMALL)
    assert {item["patient"] for item in read_datalist(out)} == {"IXI000", "IXI008", "IXI009"}
    moved_apart = "T2 and PD on different grids: 36x36x10 and 36x36x10 voxels"
    assert report_of(out)["left_out"] == [
        {"subject": "IXI001", "site": "Guys", "reason": "no PD scan"},
        {"subject": "IXI002", "site": "IOP", "reason": "no T2 scan"},
        {"subject": "IXI003", "site": "HH", "reason": "too few slices: 5"},
        {"subject": "IXI004", "site": "Guys", "reason": "T2 and PD on different grids: 36x36x10 and 36x34x10 voxels"},
        {"subject": "IXI005", "site": "IOP", "reason": f"{moved_apart}, up to 1 mm apart"},
        {"subject": "IXI006", "site": "HH", "reason": "slices not axial: spacing 2, 1.5, 1.5 mm"},
        {"subject": "IXI007", "site": "Guys", "reason": "several T2 scans"},
    ]
    assert "3 subjects (2 training, 0 validation, 1 test), 7 left out; 2 T2 and PD on" in capsys.readouterr().out


def test_no_usable_subject_is_one_line(scans: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no subject of .* the first of 10, IXI000: too few slices: 10"):
        prepare_ixi(*scans, tmp_path / "out", size=32, slices=11)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("codes", [("L", "A", "S"), ("L", "P", "S"), ("S", "R", "A"), ("P", "I", "L")])
def test_the_axes_as_stored_do_not_matter(codes: tuple[str, ...], write_scan: Scan, tmp_path: Path) -> None:
    turn = nib.orientations.axcodes2ornt(codes)
    for index in range(2):
        for contrast in ("T2", "PD"):
            image = nib.Nifti1Image(head(index), AFFINE)
            turned = image.as_reoriented(nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn))
            assert nib.aff2axcodes(turned.affine) == codes
            name = f"IXI{index:03d}-HH-0001-{contrast}.nii.gz"
            write_scan(tmp_path / "plain" / name, head(index), AFFINE)
            write_scan(tmp_path / "turned" / name, np.asarray(turned.dataobj), turned.affine)
    outs = [
        prepare_ixi(tmp_path / name, tmp_path / name, tmp_path / f"out_{name}", **SMALL, distortion=0.05)
        for name in ("plain", "turned")
    ]
    for plain, turned in zip(*(read_datalist(out) for out in outs), strict=True):
        for role in ("source", "target", "aligned_source"):
            one, other = nib.load(plain[role]), nib.load(turned[role])
            np.testing.assert_array_equal(one.dataobj, other.dataobj)
            np.testing.assert_allclose(one.affine, other.affine, atol=1e-5)
            assert nib.aff2axcodes(one.affine) == ("R", "A", "S")


def test_a_damaged_scan_leaves_nothing(
    scans: tuple[Path, Path], as_tar: Tar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = scans[1] / "IXI009-HH-0909-PD.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    t2, pd = (as_tar(folder, tmp_path / f"IXI-{folder.name}.tar") for folder in scans)
    before = sorted(os.listdir(tmp_path))
    given = ["ixi", "--t2", str(t2), "--pd", str(pd), "--out-dir", str(tmp_path / "x" / "out"), "--slices", "6"]
    assert main(given) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {pd}: IXI009-HH-0909-PD.nii.gz: truncated or damaged")
    assert sorted(os.listdir(tmp_path)) == before


def test_the_command(scans: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    t2, pd = map(str, scans)
    more = ["--size", "32", "--slices", "6", "--distortion", "0.05", "--seed", "2", "--validation-fraction", "0.1"]
    given = ["ixi", "--t2", t2, "--pd", pd, "--out-dir", str(tmp_path / "out"), *more]
    assert main(given) == 0
    provenance = read_datalist_file(tmp_path / "out")["provenance"]
    assert provenance == {
        "tool": "data_prep ixi",
        "size": 32,
        "slices": 6,
        "distortion": 0.05,
        "seed": 2,
        "validation_fraction": 0.1,
        "test_fraction": 0.2,
    }
    captured = capsys.readouterr()
    assert "ixi: 10 subjects (7 training, 1 validation, 2 test), 0 left out" in captured.out
    assert "subject/s" in captured.err
    assert main(given) == 2
    assert "already there" in capsys.readouterr().err
    assert main([*given, "--overwrite"]) == 0
    for wrong, message in (
        (["--t2", pd], f"error: {pd}: expected T2 scans (IXI…-T2.nii.gz) but found 10 of PD\n"),
        (["--pd", t2], f"error: {t2}: expected PD scans (IXI…-PD.nii.gz) but found 10 of T2\n"),
        (["--distortion", "-0.1"], "error: --distortion: expected a number, 0 or more but got -0.1\n"),
        (["--validation-fraction", "0.8"], "error: validation fraction: expected 0 to below 0.8 but got 0.8\n"),
    ):
        capsys.readouterr()
        assert main([*given, "--out-dir", str(tmp_path / "other"), *wrong]) == 2
        assert capsys.readouterr().err == message
        assert not (tmp_path / "other").exists()


def test_a_real_pair(real_data: Path, as_tar: Tar, tmp_path: Path) -> None:
    """A mean of 152 brains under names of IXI: 91 × 109 pixels of 2 mm, so the field is padded to 109 × 109."""
    template = real_data / "t2_pd_template"
    for contrast in ("T2", "PD"):
        (tmp_path / contrast).mkdir()
        image = nib.load(template / f"avg152{contrast}.nii")
        for name in ("IXI012-HH-1211", "IXI013-Guys-1212"):
            nib.save(image, tmp_path / contrast / f"{name}-{contrast}.nii.gz")
        as_tar(tmp_path / contrast, tmp_path / f"IXI-{contrast}.tar")
    out = prepare_ixi(
        tmp_path / "IXI-T2.tar", tmp_path / "IXI-PD.tar", tmp_path / "out", distortion=0.05, progress=False
    )
    (test,), (training,) = read_datalist(out, "test"), read_datalist(out, "training")
    for contrast, role in (("T2", "source"), ("PD", "target")):
        image = nib.load(test[role])
        assert image.shape == (128, 128, 64)
        np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine), [2 * 109 / 128, 2 * 109 / 128, 2])
        original = nib.as_closest_canonical(nib.load(template / f"avg152{contrast}.nii"))
        volume = original.get_fdata()
        move = np.linalg.inv(original.affine) @ image.affine
        expected = ndimage.affine_transform(volume, move[:3, :3], move[:3, 3], output_shape=image.shape, order=1)
        expected = np.clip(expected / np.percentile(volume, 99.5) * 1000, 0, 1000)
        # beyond the outermost voxels' centres one repeats them, the other fades to 0
        index = np.moveaxis(np.indices(image.shape), 0, -1) @ move[:3, :3].T + move[:3, 3]
        inside = ((index >= 0) & (index <= np.array(volume.shape) - 1)).all(-1)
        assert inside.mean() > 0.8
        assert abs(np.asarray(image.dataobj) - expected)[inside].max() <= 2
    brain = {
        f"{item['split']} {role}": np.asarray(nib.load(item[role]).dataobj) > 100
        for item in (test, training)
        for role in ("source", "aligned_source", "target")
    }
    # T2 and PD disagree a little on the outline of the brain, as acquired and aligned; against the distortion much more
    as_acquired = (brain["test source"] != brain["test target"]).mean()
    assert (brain["training aligned_source"] != brain["training target"]).mean() < 1.1 * as_acquired
    assert (brain["training source"] != brain["training target"]).mean() > 1.5 * as_acquired
