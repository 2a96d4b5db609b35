"""The files of a derived series: voxels and places, formats of the source, and what was there before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from monai_nce.data.dicom.reader import check_dicom
from monai_nce.data.dicom.writer import write_derived_series
from monai_nce.errors import InputError
from tests.data.derived_series import COPIED, DERIVATION, complete, derive, sources_of

GEOMETRY = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "FrameOfReferenceUID"),
    *("PatientPosition", "GantryDetectorTilt", "SliceLocation", "Rows", "Columns"),
)


def test_voxels_and_geometry_are_those_of_each_slice(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    made = derive(source, volume, tmp_path / "out")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        f"synthetic_000{number}.dcm" for number in range(1, 6)
    ]
    expected = np.clip(np.rint(volume), -32768, 32767)
    for index, (dataset, origin) in enumerate(zip(made, sources_of(source), strict=True)):
        np.testing.assert_array_equal(dataset.pixel_array, expected[:, :, index].T)
        for keyword in GEOMETRY:
            assert dataset[keyword] == origin[keyword], keyword
        assert dataset.InstanceNumber == origin.InstanceNumber
    assert made[0].file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert made[0]["PixelData"].VR == "OW"


def test_numbers_keep_their_digits(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    derive(source, volume, tmp_path / "out")
    written = (tmp_path / "out" / "synthetic_0002.dcm").read_bytes()
    for digits in (rb"-10.000\-20.0\32.500", rb"1.000000\0\0.0\-0.0\1\0", b"5.00", b"61.50", b"120.0"):
        assert digits in written


def test_equal_or_missing_instance_numbers_become_a_numbering(
    write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    def same(index: int, dataset: Dataset) -> None:
        dataset.InstanceNumber = 7

    def missing(index: int, dataset: Dataset) -> None:
        if index == 2:
            del dataset.InstanceNumber

    for name, edit in (("same", same), ("missing", missing)):
        made = derive(write_series(tmp_path / name, edit), volume, tmp_path / f"{name}_out")
        assert [dataset.InstanceNumber for dataset in made] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_sources_in_other_transfer_syntaxes(
    syntax: str, write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "source", complete)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientSexNeutered = "UNALTERED"
        if syntax == RLELossless:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
        little = syntax != ExplicitVRBigEndian
        implicit = syntax == ImplicitVRLittleEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    for made, origin in zip(derive(source, hu, tmp_path / "out"), sources_of(source), strict=True):
        assert made.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        for keyword in (*GEOMETRY, *COPIED, "PatientSexNeutered"):
            assert made[keyword].value == origin[keyword].value, keyword
        assert made.ProcedureCodeSequence[0].CodeMeaning == "a meaning"
        np.testing.assert_array_equal(made.pixel_array, origin.pixel_array.astype(int) - 1024)


def test_a_source_without_preamble(write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path) -> None:
    """As old archives store them; whatever the reader takes can be derived from."""
    source = write_series(tmp_path / "source", complete)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, force_encoding=True)
        meta = pydicom.filereader.read_file_meta_info(path)
        content = path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]
        path.write_bytes(content)
    for index, made in enumerate(derive(source, hu, tmp_path / "out")):
        np.testing.assert_array_equal(made.pixel_array, hu[:, :, index].T)


def test_tilted_slices_keep_their_own_positions(
    write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    def tilt(index: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-10, -20 + 0.5 * index, 30 + 2.5 * index]
        dataset.GantryDetectorTilt = 11.3

    files = sorted(write_series(tmp_path / "source", tilt).iterdir())
    write_derived_series(tmp_path / "out", hu, files, DERIVATION)
    for index, path in enumerate(sorted((tmp_path / "out").iterdir())):
        made = pydicom.dcmread(path)
        assert made.ImagePositionPatient == [-10, -20 + 0.5 * index, 30 + 2.5 * index]
        assert made.GantryDetectorTilt == 11.3


def test_an_earlier_series_is_replaced_whole(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "out"
    derive(source, volume, out)
    shutil.copy(out / "synthetic_0001.dcm", out / "synthetic_0099.dcm")
    made = derive(source, volume + 1, out)
    assert len(made) == 5 and made[3].pixel_array[2, 2] == round(float(volume[2, 2, 3]) + 1)


def test_a_full_disk_leaves_the_earlier_series(
    source: Path, volume: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    derive(source, volume, tmp_path / "out")
    old = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    real, count = pydicom.dcmwrite, 0

    def full(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        real(*args, **kwargs)

    monkeypatch.setattr(pydicom, "dcmwrite", full)
    with pytest.raises(OSError, match="No space left"):
        derive(source, volume + 1, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_source_that_vanishes_meanwhile_is_named(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    files = check_dicom(source).files
    os.remove(files[3])
    with pytest.raises((InputError, FileNotFoundError), match=files[3].name):
        write_derived_series(tmp_path / "out", volume, files, DERIVATION)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_no_earlier_series_is_not_replaced(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    file.write_text("mine")
    link.symlink_to(source)
    for path in (folder, file, link, source):
        with pytest.raises(InputError, match=path.name):
            write_derived_series(path, volume, check_dicom(source).files, DERIVATION)
    assert (folder / "notes.txt").read_text() == file.read_text() == "mine"
    assert link.is_symlink() and len(check_dicom(source).files) == 5


@pytest.mark.parametrize("shape", [(7, 6, 4), (6, 7, 5), (7, 6)])
def test_a_volume_that_does_not_fit_is_refused(source: Path, shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        derive(source, np.zeros(shape), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nan_is_refused(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    volume[2, 2, 2] = np.nan
    with pytest.raises(ValueError, match="expected finite HU"):
        derive(source, volume, tmp_path / "out")
    assert not (tmp_path / "out").exists()
