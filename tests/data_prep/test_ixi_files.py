from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.ixi_files import IXIFiles
from monai_nce.errors import InputError

Scan = Callable[..., Path]
Tar = Callable[..., Path]
RAS = np.diag([1.5, 1.5, 2.0, 1.0])
LPS = np.array([[-1.5, 0, 0, 20], [0, -1.5, 0, 30], [0, 0, 2.0, -5], [0, 0, 0, 1]])
NAMES = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI035-IOP-0873")


def volume_of(name: str) -> np.ndarray:
    return np.random.default_rng(len(name)).integers(0, 900, (12, 14, 30))


@pytest.fixture
def folder(write_scan: Scan, tmp_path: Path) -> Path:
    for name in NAMES:
        write_scan(tmp_path / "T2" / f"{name}-T2.nii.gz", volume_of(name), LPS)
    return tmp_path / "T2"


@pytest.fixture
def archive(folder: Path, as_tar: Tar, tmp_path: Path) -> Path:
    return as_tar(folder, tmp_path / "IXI-T2.tar")


def test_folder_and_archive_hold_the_same(folder: Path, as_tar: Tar, tmp_path: Path) -> None:
    (folder / "._IXI012-HH-1211-T2.nii.gz").write_text("what a Mac leaves")
    (folder / "readme.txt").write_text("hello")
    for path in (folder, as_tar(folder, tmp_path / "a.tar"), as_tar(folder, tmp_path / "b.tar", "IXI/T2/")):
        files = IXIFiles(path, "T2")
        assert files.sites == {"IXI002": "Guys", "IXI012": "HH", "IXI035": "IOP"}
        assert not files.repeated
        grid = files.grid("IXI012")
        volume, affine = files.volume("IXI012")
        assert grid.shape == volume.shape == (12, 14, 30)
        np.testing.assert_array_equal(grid.affine, affine)
        np.testing.assert_array_equal(volume, volume_of(NAMES[1])[::-1, ::-1])
        np.testing.assert_allclose(
            affine, np.diag([1.5, 1.5, 2, 1]) + np.outer([20 - 16.5, 30 - 19.5, -5, 0], [0, 0, 0, 1])
        )


def test_nothing_is_unpacked(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    files = IXIFiles(archive, "T2")
    files.grid("IXI002")
    files.volume("IXI002")
    assert os.listdir(tmp_path / "tmp") == []


def test_a_subject_with_several_scans_is_set_apart(folder: Path) -> None:
    (folder / "IXI012-HH-9999-T2.nii.gz").write_bytes((folder / "IXI012-HH-1211-T2.nii.gz").read_bytes())
    files = IXIFiles(folder, "T2")
    assert files.repeated == {"IXI012": "HH"}
    assert sorted(files.sites) == ["IXI002", "IXI035"]


def test_the_wrong_contrast_is_told(folder: Path, archive: Path, tmp_path: Path) -> None:
    for path in (folder, archive):
        with pytest.raises(InputError, match=rf"{path.name}: expected PD scans .* but found 3 of T2"):
            IXIFiles(path, "PD")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: expected PD scans .* but found no IXI scan at all"):
        IXIFiles(tmp_path / "empty", "PD")
    with pytest.raises(InputError, match="none: no such file or folder"):
        IXIFiles(tmp_path / "none", "PD")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"hello" * 1000, bytes(10240)):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.tar: (not a tar archive|expected T2 scans)"):
            IXIFiles(tmp_path / "a.tar", "T2")


def offset_of(archive: Path, name: str) -> int:
    with tarfile.open(archive) as tar:
        return tar.getmember(f"{name}-T2.nii.gz").offset


@pytest.mark.parametrize("where", [300, 512, 1000], ids=["in a header", "after a header", "in a scan"])
def test_a_truncated_archive_is_told(where: int, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: offset_of(archive, NAMES[2]) + where])
    with pytest.raises(InputError, match=r"IXI-T2\.tar: truncated or damaged (at or )?after IXI0(12|35)-[A-Z]+-\d+-T2"):
        IXIFiles(archive, "T2")


def test_an_archive_without_its_end_is_told(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[: offset_of(archive, NAMES[2])])
    with pytest.raises(InputError, match=r"IXI-T2\.tar: truncated or damaged after IXI012"):
        IXIFiles(archive, "T2")


def spoil(archive: Path, offset: int, count: int = 16) -> None:
    content = bytearray(archive.read_bytes())
    content[offset : offset + count] = bytes(byte ^ 0xFF for byte in content[offset : offset + count])
    archive.write_bytes(content)


def test_a_broken_header_in_the_middle_is_told(archive: Path) -> None:
    spoil(archive, offset_of(archive, NAMES[1]))
    with pytest.raises(InputError, match=r"IXI-T2\.tar: truncated or damaged after IXI002-Guys-0828-T2\.nii\.gz"):
        IXIFiles(archive, "T2")


def test_a_damaged_scan_is_named(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        member = tar.getmember(f"{NAMES[1]}-T2.nii.gz")
    spoil(archive, member.offset_data + member.size - 8, 1)  # the checksum
    files = IXIFiles(archive, "T2")
    files.volume("IXI002")
    assert files.grid("IXI012").shape == (12, 14, 30)
    with pytest.raises(InputError) as error:
        files.volume("IXI012")
    assert str(error.value).startswith(f"{archive}: IXI012-HH-1211-T2.nii.gz: truncated or damaged (CRC")
    spoil(archive, member.offset_data)
    files = IXIFiles(archive, "T2")
    with pytest.raises(InputError) as error:
        files.grid("IXI012")
    assert str(error.value) == f"{archive}: IXI012-HH-1211-T2.nii.gz: not a readable NIfTI file"
