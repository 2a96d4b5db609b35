from __future__ import annotations

import gzip
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest

from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.found import find_images
from monai_nce.data.scans.reader import read_ct
from monai_nce.errors import InputError
from tests.data.itk.itk_files import save_itk

Series = Callable[..., Path]


def describe(text: str, number: int) -> Callable[[int, Any], None]:
    def edit(index: int, dataset: Any) -> None:
        dataset.SeriesDescription, dataset.SeriesNumber = text, number

    return edit


@pytest.mark.filterwarnings("error")
def test_nested_folders_of_both_kinds(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "b" / "scan.nii.gz", hu, np.eye(4))
    write_series(tmp_path / "a" / "x" / "y", describe("portal", 4))
    found = find_images(tmp_path)
    assert [(v.kind, v.path, v.modality, v.description, len(v.files), v.alone) for v in found] == [
        ("dicom", tmp_path / "a" / "x" / "y", "CT", "portal", 5, True),
        ("nifti", tmp_path / "b" / "scan.nii.gz", "", "", 1, True),
    ]


def test_series_that_share_a_folder_and_one_that_is_spread(write_series: Series, tmp_path: Path) -> None:
    shared = write_series(tmp_path / "shared", describe("late", 7))
    for path in write_series(tmp_path / "other", describe("early", 5)).iterdir():
        path.rename(shared / f"early-{path.name}")
    spread = write_series(tmp_path / "spread" / "1", describe("spread", 9))
    (tmp_path / "spread" / "2").mkdir()
    (spread / "slice0.dcm").rename(tmp_path / "spread" / "2" / "slice0.dcm")
    found = find_images(tmp_path)
    assert [(v.path.name, v.description, len(v.files), v.alone) for v in found] == [
        ("shared", "early", 5, False),
        ("shared", "late", 5, False),
        ("spread", "spread", 5, True),
    ]


def test_a_file_stands_for_itself_and_a_dicomdir_for_its_folder(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    (one,) = find_images(folder / "slice2.dcm")
    assert (one.path, one.files) == (folder / "slice2.dcm", (folder / "slice2.dcm",))
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (whole,) = find_images(folder / "DICOMDIR")
    assert (whole.path, len(whole.files)) == (folder, 5)


def test_a_damaged_file_goes_to_the_series_of_its_header_or_its_folder(write_series: Series, tmp_path: Path) -> None:
    for name in "ab":
        write_series(tmp_path / name, describe(name, 1))
    cut = tmp_path / "a" / "slice4.dcm"
    cut.write_bytes(cut.read_bytes()[:200])  # not even its series is left
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "1.dcm").write_bytes(b"\0nothing")
    a, b, c = find_images(tmp_path)
    assert cut in a.files and len(a.files) == len(b.files) == 5
    assert (c.path, c.files) == (tmp_path / "c", (tmp_path / "c" / "1.dcm",))


def test_what_is_no_image_is_left_out_with_a_warning(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    (folder / "readme.txt").write_text("hello")
    scout = pydicom.dcmread(folder / "slice0.dcm")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.save_as(folder / "scout.dcm")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (found,) = find_images(tmp_path)
    assert len(found.files) == 5
    assert [str(w.message) for w in caught if w.category is ReaderWarning] == [
        f"{tmp_path}: 1 of 7 files are no images; left out",
        f"{tmp_path}: 1 of 7 files are localizers; left out",
    ]


def notes_of(path: Path) -> tuple[list[str], list[str]]:
    """The names of what is found, and the warnings without the path."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find_images(path)
    notes = [str(item.message).removeprefix(f"{path}: ") for item in caught if item.category is ReaderWarning]
    return [volume.path.name for volume in found], notes


def test_files_of_every_format_are_volumes_and_their_data_files_none(hu: np.ndarray, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "a.nii.gz", hu, np.eye(4))
    for name in ("b.mha", "c.mhd", "d.nrrd", "sub/e.nhdr"):
        save_itk(tmp_path / name, hu, np.eye(4))
    assert notes_of(tmp_path) == (["a.nii.gz", "b.mha", "c.mhd", "d.nrrd", "e.nhdr"], [])
    assert [volume.kind for volume in find_images(tmp_path)] == ["nifti", "metaimage", "metaimage", "nrrd", "nrrd"]


def test_label_maps_beside_something_are_left_out(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    save_itk(tmp_path / "Segmentation.seg.nrrd", hu, np.eye(4))
    assert notes_of(tmp_path) == (["Segmentation.seg.nrrd"], [])  # to be refused with a reason
    save_itk(tmp_path / "liver.mha", hu.astype(np.uint8), np.eye(4))
    write_series(tmp_path / "ct")
    assert notes_of(tmp_path) == (["ct"], ["2 MetaImage or NRRD files are label maps; left out"])


def test_scans_in_formats_that_are_not_read_are_told(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "a.nii", hu, np.eye(4))
    nib.save(nib.AnalyzeImage(hu, np.eye(4)), tmp_path / "b.img")
    write_series(tmp_path / "c")
    (tmp_path / "c.dcm.gz").write_bytes(gzip.compress((tmp_path / "c" / "slice0.dcm").read_bytes()))
    names, notes = notes_of(tmp_path)
    assert names == ["a.nii", "c"]
    assert sorted(notes) == [
        "3 of 8 files are no images; left out",
        "left out 1 files, such as c.dcm.gz: it is a DICOM file packed by gzip: unpack it first (gunzip)",
        "left out 2 files, such as b.hdr: it is an Analyze image, without left and right: convert the scan from DICOM"
        " again",
    ]


def test_a_packed_slice_beside_others_of_its_series_is_not_lost(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    (folder / "slice4.dcm.gz").write_bytes(gzip.compress((folder / "slice4.dcm").read_bytes()))
    (folder / "slice4.dcm").unlink()
    (found,) = find_images(folder)
    with pytest.raises(InputError, match=r"slice4\.dcm\.gz: empty, .*: it is a DICOM file packed by gzip: unpack it"):
        read_ct(found)


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices")
def test_a_hostile_tree_does_no_harm(write_series: Series, tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    write_series(outside)
    folder = write_series(root / "series")
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "self.dcm").symlink_to(root / "self.dcm")
    (root / "zero.dcm").symlink_to("/dev/zero")
    (root / "slice9.dcm").symlink_to(outside / "slice1.dcm")
    (folder / "copy.dcm").symlink_to(folder / "slice0.dcm")
    os.mkfifo(folder / "pipe.dcm")
    (root / ".hidden").mkdir()
    shutil.copy(folder / "slice0.dcm", root / ".hidden" / "slice.dcm")
    deep = root
    for _ in range(300):
        deep = deep / "d"
        deep.mkdir()
    with pytest.warns(ReaderWarning, match="6 links out of the tree"):
        (found,) = find_images(root)
    assert found.path == folder and len(found.files) == 6


def test_texts_are_one_line_without_the_patient(write_series: Series, tmp_path: Path) -> None:
    def edit(index: int, dataset: Any) -> None:
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Sentinel^Maria", "ID4711", "19010203"
        dataset.SeriesDescription = "portal\nSENTINEL\x1b[31m id4711 19010203"
        dataset.ContrastBolusAgent, dataset.ContrastBolusVolume = "Ultravist", None
        dataset.AcquisitionDate, dataset.AcquisitionTime = "20200102", "101112.5"

    (found,) = find_images(write_series(tmp_path, edit))
    assert found.description == "portal *** [31m *** ***"
    assert found.contrast == (("ContrastBolusAgent", "Ultravist"),)
    assert (found.patient_id, found.acquisition_time) == ("ID4711", "20200102101112.5")
    assert not any(word in repr(found) for word in ("Maria", "4711", "1901", found.series_uid))


@pytest.mark.parametrize("name", ["none", "a\0b"])
def test_a_missing_path_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        find_images(tmp_path / name)
    assert find_images(tmp_path) == []


def test_dose_reports_and_texts_of_a_study_are_left_out(write_series: Series, tmp_path: Path) -> None:
    def dose(index: int, dataset: Any) -> None:
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        del dataset.ImagePositionPatient

    write_series(tmp_path / "scan")
    write_series(tmp_path / "dose", dose)
    (tmp_path / "scan" / "readme.dcm").write_text("Open the viewer.")
    with pytest.warns(UserWarning) as caught:
        (found,) = find_images(tmp_path)
    assert found.path == tmp_path / "scan" and len(found.files) == 5
    assert [str(item.message).partition(": ")[2] for item in caught] == [
        "1 of 11 files are no images; left out",
        "5 of 11 files are pictures without a place, such as a dose report; left out",
    ]
