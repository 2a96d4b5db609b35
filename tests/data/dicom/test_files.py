from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ImplicitVRLittleEndian

from monai_nce.data.dicom.files import is_dicom, looks_like_slice, scan_file
from monai_nce.data.dicom.reader import read_dicom
from monai_nce.data.scans.found import find_images

Series = Callable[..., Path]


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_files_without_preamble_are_read(syntax: Any, write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    """As old archives store them: no preamble, no prefix, no meta header."""

    def edit(index: int, dataset: Any) -> None:
        if syntax:
            dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()

    folder = write_series(tmp_path, edit)
    for path in folder.iterdir():
        with open(path, "rb") as file:
            meta = pydicom.filereader.read_file_meta_info(path)
            file.seek(144 + meta.FileMetaInformationGroupLength)
            content = file.read()
        path.write_bytes(content)
        assert is_dicom(path)
    np.testing.assert_array_equal(read_dicom(folder)[0], hu)


def test_texts_and_pictures_are_no_dicom(tmp_path: Path) -> None:
    for name, content in {"a": b"", "b": b"hello " * 100, "c": b"\x89PNG" + bytes(500), "d": bytes(500)}.items():
        (tmp_path / name).write_bytes(content)
        assert scan_file(tmp_path / name) is None


def test_reports_are_other_and_images_without_rows_are_broken(write_series: Series, tmp_path: Path) -> None:
    path = write_series(tmp_path) / "slice0.dcm"
    dataset = pydicom.dcmread(path)
    del dataset.Rows, dataset.PixelData
    dataset.save_as(path)
    scanned = scan_file(path)
    assert scanned is not None and (scanned.kind, scanned.problem[:10]) == ("broken", "a CT image")
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    dataset.save_as(path)
    scanned = scan_file(path)
    assert scanned is not None and scanned.kind == "other"
    assert pydicom.dcmread(path).SOPClassUID != CTImageStorage


def test_pydicom_says_nothing_of_a_patient(
    write_series: Series, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_series(tmp_path)
    for path in folder.iterdir():  # a code string that none can be
        content = path.read_bytes()
        path.write_bytes(content.replace(b"AXIAL", b"secr\xff"))
    with warnings.catch_warnings(record=True) as caught, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        find_images(folder)
    texts = [str(item.message) for item in caught] + [record.getMessage() for record in caplog.records]
    assert not any("secr" in text.lower() for text in texts)
    assert not logging.getLogger("pydicom").disabled


@pytest.mark.parametrize(
    ("name", "suffixes", "expected"),
    [
        ("a.dcm", set(), True),
        ("IM0004", {""}, True),
        ("IM0004", set(), False),
        ("CT.1.2.3.44", {".55"}, True),
        ("readme.txt", {".dcm"}, False),
        ("README", {""}, False),
        ("slice4.img", {".img"}, True),
        ("notes2.txt", {".dcm", ""}, False),
    ],
)
def test_what_was_a_slice_once(name: str, suffixes: set[str], expected: bool) -> None:
    assert looks_like_slice(Path(name), [f"1{suffix}" for suffix in suffixes]) is expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("readme.dcm", b"Zur Ansicht bitte den Viewer starten.\r\n", False),
        ("notes2.dcm", "Bemerkung: geprüft".encode("latin-1"), False),
        ("IM007.dcm", b"404: not found", True),  # in a slice's place
        ("readme.dcm", b"<!DOCTYPE html><html>", True),
        ("readme.dcm", b"version https://git-lfs.github.com/spec/v1", True),
        ("readme.dcm", b"", True),
        ("readme.dcm", bytes(range(256)), True),
    ],
)
def test_a_text_was_no_slice_unless_it_has_the_name_of_one(
    tmp_path: Path, name: str, content: bytes, expected: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    assert looks_like_slice(tmp_path / name, ["IM001.dcm", "IM002.dcm"]) is expected


CAPTURES: dict[str, Callable[[Any], None]] = {
    "secondary capture": lambda dataset: setattr(dataset, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7"),
    "of several frames": lambda dataset: setattr(dataset, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.7.4"),
    "in colour": lambda dataset: setattr(dataset, "SamplesPerPixel", 3),
    "dose": lambda dataset: setattr(dataset, "ImageType", ["DERIVED", "SECONDARY", "OTHER", "DOSE_INFO"]),
    "protocol": lambda dataset: setattr(dataset, "ImageType", ["DERIVED", "SECONDARY", "OTHER"]),
}


@pytest.mark.parametrize("what", CAPTURES)
@pytest.mark.parametrize("placed", [False, True])
def test_a_picture_without_a_place_is_a_capture(
    tmp_path: Path, write_series: Callable[..., Path], what: str, placed: bool
) -> None:
    def edit(index: int, dataset: Any) -> None:
        CAPTURES[what](dataset)
        if not placed:
            del dataset.ImagePositionPatient

    file = min(write_series(tmp_path / "series", edit).iterdir())
    assert getattr(scan_file(file), "kind", "") == ("image" if placed else "capture")


def test_a_slice_that_lost_its_place_is_no_capture(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    def edit(index: int, dataset: Any) -> None:
        del dataset.ImagePositionPatient

    file = min(write_series(tmp_path / "series", edit).iterdir())
    assert getattr(scan_file(file), "kind", "") == "image"
