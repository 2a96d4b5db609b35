from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.foreign import Foreign, advice, first_advice, recognise
from tests.data.itk.itk_files import save_itk

AFFINE = np.diag([-0.8, -0.7, 2.5, 1])
VOXELS = np.zeros((2, 3, 4), np.int16)


def nifti(path: Path) -> None:
    write_nifti_hu(path.with_name("made.nii"), VOXELS, AFFINE)
    path.with_name("made.nii").rename(path)


def packed(write: Callable[[Path], None]) -> Callable[[Path], None]:
    def write_packed(path: Path) -> None:
        write(path)
        path.write_bytes(gzip.compress(path.read_bytes()))

    return write_packed


def dicom(path: Path) -> None:
    path.write_bytes(bytes(128) + b"DICM" + bytes(500))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("scan.dcm", "x")


@pytest.mark.parametrize(
    ("name", "write", "told"),
    [
        ("a.nii", nifti, None),
        ("a.nii.gz", packed(nifti), None),
        ("a.dcm", dicom, None),
        ("IM0001", dicom, None),
        ("a.mha", lambda path: save_itk(path, VOXELS, AFFINE), None),
        ("a.nrrd", lambda path: save_itk(path, VOXELS, AFFINE), None),
        ("readme.txt", lambda path: path.write_text("hello"), None),
        ("a.dcm.gz", packed(dicom), "a DICOM file packed by gzip: unpack it first (gunzip)"),
        ("a.nii", packed(nifti), "a NIfTI file packed by gzip: rename it to a name in .nii.gz"),
        ("a", packed(nifti), "a NIfTI file packed by gzip: rename it to a name in .nii.gz"),
        ("a.nii.gz", nifti, "a NIfTI file: rename it to a name in .nii"),
        ("a.dcm", nifti, "a NIfTI file: rename it to a name in .nii"),
        ("a.nii", dicom, "a DICOM file: rename it to a name in .dcm"),
        ("a.nii.gz", packed(dicom), "a DICOM file packed by gzip: unpack it first (gunzip)"),
        ("a.mha", nifti, "a NIfTI file: rename it to a name in .nii"),
        ("a.pdf", lambda path: path.write_bytes(b"%PDF-1.4"), "a PDF document: name a scan"),
        ("a.zip", zipped, "a ZIP archive: unpack it"),
        ("a.nii.gz", zipped, "a ZIP archive: unpack it"),
        (
            "a.nii.gz",
            lambda path: path.write_text("\n<!DOCTYPE html>"),
            "a web page in place of a download: download it",
        ),
        ("a.nii.gz", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "run git lfs pull"),
        ("a.nii", lambda path: path.write_bytes(b""), "an empty file: copy or export it again"),
        ("a.png", lambda path: Image.new("L", (4, 4)).save(path), "a picture without HU and place: export the series"),
        ("a.mgz", packed(lambda path: path.write_bytes(bytes(900))), "packed by gzip: unpack it first (gunzip)"),
    ],
)
def test_files_and_what_to_do(name: str, write: Callable[[Path], None], told: str | None, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path)
    found = recognise(path)
    assert (found is None) if told is None else (told in str(found))
    assert advice(path) == (f": it is {found}" if told else "")


def test_pairs_of_files(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VOXELS, AFFINE), tmp_path / "old.img")
    nib.save(nib.Nifti1Pair(VOXELS, AFFINE), tmp_path / "new.img")
    for ending in (".hdr", ".img"):
        assert recognise(tmp_path / f"old{ending}") == Foreign(
            "an Analyze image, without left and right", "convert the scan from DICOM again"
        )
        assert "a NIfTI image in two files: save it as one, .nii" in str(recognise(tmp_path / f"new{ending}"))


def test_names_in_misnamed_itk_files(tmp_path: Path) -> None:
    for suffix, kind in ((".mha", "a MetaImage file"), (".nrrd", "an NRRD file")):
        path = save_itk(tmp_path / f"a{suffix}", VOXELS, AFFINE).rename(tmp_path / f"b{suffix}.nii")
        assert str(recognise(path)) == f"{kind}: rename it to a name in {suffix}"


def test_the_first_of_a_folder_that_may_be_a_scan(tmp_path: Path) -> None:
    assert first_advice(tmp_path) == ""
    zipped(tmp_path / "a.zip")
    assert first_advice(tmp_path) == ": a.zip is a ZIP archive: unpack it"
    (tmp_path / "b").mkdir()
    packed(dicom)(tmp_path / "b" / "c.dcm.gz")
    assert first_advice(tmp_path) == ": c.dcm.gz is a DICOM file packed by gzip: unpack it first (gunzip)"
    assert first_advice(tmp_path / "a.zip") == ": it is a ZIP archive: unpack it"
