from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from data_prep.__main__ import main
from monai_nce.data.nifti.writer import write_nifti_hu
from tests.data.itk.itk_files import save_itk
from tests.data_prep.dicom_samples import AFFINE, HU, at, write_ct

Output = pytest.CaptureFixture[str]


def convert(path: Path, output: Path, capsys: Output, *options: str) -> tuple[int, list[str]]:
    code = main(["convert", str(path), "-o", str(output), *options])
    out, err = capsys.readouterr()
    assert out.startswith("next: ") == (code == 0) and len(out.splitlines()) <= 1
    assert "Traceback" not in err and len(err.splitlines()) <= 20
    assert output.is_file() == (code == 0) or code == 5
    return code, err.splitlines()


def check(path: Path, hu: np.ndarray = HU, affine: np.ndarray = AFFINE) -> None:
    image = nib.load(path)
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(image.dataobj, hu)
    np.testing.assert_allclose(image.affine, affine, atol=1e-4)


def test_a_series(tmp_path: Path, capsys: Output) -> None:
    assert convert(write_ct(tmp_path / "in"), tmp_path / "new" / "out.nii.gz", capsys) == (0, [])
    check(tmp_path / "new" / "out.nii.gz")
    assert not nib.load(tmp_path / "new" / "out.nii.gz").header["descrip"].tobytes().strip(b"\0")


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_a_file_of_itk(name: str, tmp_path: Path, capsys: Output) -> None:
    assert convert(save_itk(tmp_path / name, HU, AFFINE), tmp_path / "out.nii.gz", capsys) == (0, [])
    check(tmp_path / "out.nii.gz")


def test_values_are_rounded_and_padding_is_air(tmp_path: Path, capsys: Output) -> None:
    def edit(index: int, dataset: Any) -> None:
        stored = np.frombuffer(dataset.PixelData, "<u2").astype(float)
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.3, -3024
        dataset.PixelData = np.rint((stored - 1024 + 3024) / 0.3).astype("<u2").tobytes()
        if index == 0:
            dataset.PixelData = bytes(2) + dataset.PixelData[2:]

    assert convert(write_ct(tmp_path / "in", edit=edit), tmp_path / "out.nii", capsys)[0] == 0
    expected = HU.copy()
    expected[0, 0, 0] = -1024
    check(tmp_path / "out.nii", expected)


def test_a_tilt_is_kept(tmp_path: Path, capsys: Output) -> None:
    def tilt(index: int, dataset: Any) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, np.cos(0.2), -np.sin(0.2)]

    code, (line,) = convert(write_ct(tmp_path / "in", edit=tilt), tmp_path / "out.nii.gz", capsys)
    assert code == 0 and "warning: " in line and "a gantry tilt of 11.5°" in line
    affine = AFFINE.copy()
    affine[1:3, 1] = -0.7 * np.cos(0.2), -0.7 * np.sin(0.2)
    check(tmp_path / "out.nii.gz", affine=affine)
    header = nib.load(tmp_path / "out.nii.gz").header
    assert (header["qform_code"], header["sform_code"]) == (0, 1)


def test_slices_are_never_added(tmp_path: Path, capsys: Output) -> None:
    folder = write_ct(tmp_path / "in")
    for index in range(5, 0, -1):
        (folder / f"slice1-{index}.dcm").unlink()
        assert convert(folder, tmp_path / "out.nii", capsys)[0] == 0
        assert nib.load(tmp_path / "out.nii").shape == (24, 20, index)
    assert nib.load(tmp_path / "out.nii").header.get_zooms()[2] == 5  # the thickness
    write_ct(tmp_path / "thin", edit=lambda index, dataset: delattr(dataset, "SliceThickness"))
    code, (line,) = convert(tmp_path / "thin" / "slice1-0.dcm", tmp_path / "other.nii", capsys)
    assert code == 3 and "a single slice without SliceThickness" in line


def test_several_volumes(tmp_path: Path, capsys: Output) -> None:
    folder = tmp_path / "in"
    for number, text in enumerate(("arterial", "late", "late arterial", "broken"), start=1):
        write_ct(folder, text, number, at(3, RescaleSlope=None) if text == "broken" else None)
    out = tmp_path / "out.nii.gz"
    code, (line, *listed) = convert(folder, out, capsys)
    assert code == 4 and line == f"error: {folder}: 3 volumes fit; choose by --series"
    assert [text.split(" (UID ...")[0] for text in listed] == ["  arterial", "  late", "  late arterial"]
    for text in ("arterial", "LATE", "late art", listed[1].split("...")[1].split(",")[0]):
        assert convert(folder, out, capsys, "--series", text)[0] == 0
        out.unlink()
    assert convert(folder, out, capsys, "--series", "ar")[0] == 4
    code, (line,) = convert(folder, out, capsys, "--series", "brok")
    assert code == 3 and line.endswith("has no RescaleSlope")
    code, (line,) = convert(folder, out, capsys, "--series", "venous")
    assert (code, line) == (2, f"error: {folder}: no image of that name found")


def test_nifti_files_are_chosen_by_name(tmp_path: Path, capsys: Output) -> None:
    for name in ("p1_pre", "p1_portal"):
        write_nifti_hu(tmp_path / f"{name}.nii.gz", HU, AFFINE)
    code, lines = convert(tmp_path, tmp_path / "out" / "a.nii", capsys)
    assert code == 4 and lines[1:] == [f"  {tmp_path / name}.nii.gz" for name in ("p1_portal", "p1_pre")]
    assert convert(tmp_path, tmp_path / "out" / "a.nii", capsys, "--series", "PORTAL")[0] == 0
    check(tmp_path / "out" / "a.nii")


def test_one_accepted_among_refused(tmp_path: Path, capsys: Output) -> None:
    write_ct(tmp_path / "in" / "a")
    (tmp_path / "in" / "b.nii").write_text("no")
    code, (line,) = convert(tmp_path / "in", tmp_path / "out.nii", capsys)
    assert (code, line) == (0, f"refused: {tmp_path / 'in' / 'b.nii'}: not a readable NIfTI file")


def test_nothing_found(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "in").mkdir()
    assert convert(tmp_path / "in", tmp_path / "o.nii", capsys) == (2, [f"error: {tmp_path / 'in'}: no image found"])
    assert convert(tmp_path / "no", tmp_path / "o.nii", capsys) == (
        2,
        [f"error: {tmp_path / 'no'}: no such file or folder"],
    )


def full(*args: object) -> None:
    raise OSError(28, "No space left on device")


def test_what_cannot_be_written(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_ct(tmp_path / "in")
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.nii").mkdir()
    write_nifti_hu(tmp_path / "own.nii", HU, AFFINE)
    old = (tmp_path / "own.nii").read_bytes()
    for output, message in (
        ("a.txt", "expected the name of a file that ends in .nii or .nii.gz"),
        ("folder.nii", "expected the name of a file"),
        ("file/a.nii", "expected a folder for the results but it is a file"),
    ):
        code, (line,) = convert(folder, tmp_path / output, capsys)
        assert code == 5 and any(part in line for part in message.split("|"))
    code, (line,) = convert(
        tmp_path / "nothing", tmp_path / ("n" * 250 + ".nii"), capsys
    )  # said before anything is read
    assert code == 5 and "expected a name of 237 bytes at most but got 254" in line
    code, (line,) = convert(tmp_path / "own.nii", tmp_path / "own.nii", capsys)
    assert code == 5 and line.endswith("is the input itself")
    monkeypatch.setattr(os, "fsync", full)
    code, (line,) = convert(folder, tmp_path / "own.nii", capsys)
    assert (code, line) == (5, f"error: {tmp_path / 'own.nii'}: cannot be written: No space left on device")
    assert (tmp_path / "own.nii").read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.nii", "in", "own.nii"]


def identical_copies(folder: Path) -> None:
    shutil.copy(folder / "slice1-2.dcm", folder / "copy.dcm")


def readme(folder: Path) -> None:
    (folder / "readme.txt").write_text("hello")


@pytest.mark.parametrize(("add", "line"), [(identical_copies, "1 identical copies"), (readme, "1 of 7 files")])
def test_notices(add: Callable[[Path], None], line: str, tmp_path: Path, capsys: Output) -> None:
    folder = write_ct(tmp_path / "in")
    add(folder)
    code, lines = convert(folder, tmp_path / "out.nii", capsys)
    assert code == 0 and len(lines) == 1 and line in lines[0]
    check(tmp_path / "out.nii")


def test_the_real_series_lies_on_its_labels(real_data: Path, tmp_path: Path, capsys: Output) -> None:
    out = tmp_path / "out.nii.gz"
    assert convert(real_data / "cect_abdomen_dicom" / "series", out, capsys)[0] == 0
    image = nib.as_closest_canonical(nib.load(out))
    labels = nib.as_closest_canonical(nib.load(real_data / "cect_abdomen_dicom" / "organs.nii.gz"))
    np.testing.assert_allclose(image.affine, labels.affine, atol=1e-3)
    assert np.asarray(image.dataobj)[np.asarray(labels.dataobj) == 5].mean() == pytest.approx(89, abs=1)
