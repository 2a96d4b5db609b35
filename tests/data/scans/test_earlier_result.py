from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_nce.data import FoundVolume, Provenance, SaveImageNiftid
from monai_nce.data.scans.earlier_result import (
    check_not_of_another_scan,
    earlier_results,
    made_from,
    page_file,
    picture_file,
    scan_hash,
    series_folder,
    settings_hash,
)
from monai_nce.errors import InputError
from monai_nce.visualize import DrawImagePreviewd, SaveImagePreviewd
from tests.data.derived_series import derive

FILE = FoundVolume("nifti", Path("scan.nii"), (Path("scan.nii"),))
HU = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ONE, OTHER = "0123456789abcdef" * 4, "f" * 64


def test_names() -> None:
    assert series_folder("a/b.v2_synthetic_cect.nii.gz") == Path("a/b.v2_synthetic_cect")
    assert picture_file("a/b.v2_synthetic_cect.nii.gz") == Path("a/b.v2_synthetic_cect.png")
    assert page_file("a/b.v2_synthetic_cect.nii.gz") == Path("a/b.v2_synthetic_cect.html")


def test_the_same_scan_has_the_same_hash_however_it_lies_in_memory() -> None:
    known = scan_hash(FILE, HU, np.eye(4))
    assert len(known) == 64
    moved = replace(FILE, path=Path("else/where.mha"), kind="metaimage", description="x", comments="y")
    for volume in (np.asfortranarray(HU), HU.astype(np.float64), HU + 0.2):
        assert scan_hash(moved, volume, -np.eye(4) * -1) == known


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_another_scan_has_another_hash(data: st.DataObject) -> None:
    found, volume, affine = FILE, HU.copy(), np.eye(4)
    what = data.draw(st.sampled_from(["voxel", "place", "shape", "series_uid", "study_uid", "patient_id"]))
    if what == "voxel":
        volume[tuple(data.draw(st.integers(0, size - 1)) for size in HU.shape)] += data.draw(st.integers(1, 3000))
    elif what == "place":
        affine[data.draw(st.integers(0, 2)), data.draw(st.integers(0, 3))] += data.draw(st.floats(0.01, 500))
    elif what == "shape":
        volume = volume.reshape(3, 2, 4)
    else:
        found = replace(found, **{what: data.draw(st.text(min_size=1, max_size=9))})
    assert scan_hash(found, volume, affine) != scan_hash(FILE, HU, np.eye(4))


def save(output: Path, scan: str | None, what: str) -> Path:
    """Write a result's ``"volume"``, ``"picture"`` or ``"series"``."""
    volume = MetaTensor(np.linspace(-1000, 300, 8 * 8 * 4, dtype=np.float32).reshape(1, 8, 8, 4))
    item: dict[Any, Any] = {"pred": volume, "image_hu": volume, "output": str(output)}
    item["provenance"] = Provenance(scan_hash=scan)
    if what == "volume":
        SaveImageNiftid("pred")(item)
        return output
    SaveImagePreviewd()(DrawImagePreviewd("pred", "image_hu")(item))
    return picture_file(output)


@pytest.mark.parametrize("what", ["volume", "picture"])
def test_a_result_says_from_which_scan_it_was_made(tmp_path: Path, what: str) -> None:
    output = tmp_path / "a_synthetic_cect.nii.gz"
    there = save(output, ONE, what)
    assert earlier_results(output) == [there] and made_from(there) == ONE
    check_not_of_another_scan(output, ONE)
    with pytest.raises(InputError, match="is the result of another scan, and is not replaced: name another --output_d"):
        check_not_of_another_scan(output, OTHER)
    check_not_of_another_scan(tmp_path / "b_synthetic_cect.nii.gz", OTHER)


def test_a_derived_series_says_so_too(tmp_path: Path, write_series: Callable[..., Path], hu: np.ndarray) -> None:
    output = tmp_path / "a_synthetic_cect.nii.gz"
    folder = series_folder(output)
    folder.mkdir()
    assert earlier_results(output) == []  # nothing would be lost
    derive(write_series(tmp_path / "scan"), hu, folder, provenance=Provenance(scan_hash=ONE))
    assert earlier_results(output) == [folder] and made_from(folder) == ONE
    with pytest.raises(InputError, match="a_synthetic_cect: is the result of another scan"):
        check_not_of_another_scan(output, OTHER)


@pytest.mark.parametrize("what", ["volume", "picture", "no result"])
def test_what_does_not_say_it_is_not_replaced(tmp_path: Path, what: str) -> None:
    output = tmp_path / "a_synthetic_cect.nii.gz"
    if what == "no result":
        output.write_bytes(b"notes")
    else:
        save(output, None, what)
    with pytest.raises(InputError, match="does not say which scan it was made from, and is not replaced"):
        check_not_of_another_scan(output, ONE)


def test_the_writer_asks_again(tmp_path: Path) -> None:
    """Another process may have written meanwhile, or the file system may take A for a."""
    output = tmp_path / "a_synthetic_cect.nii.gz"
    before = save(output, ONE, "volume").read_bytes()
    save(output, ONE, "volume")
    with pytest.raises(InputError, match="another scan"):
        save(output, OTHER, "volume")
    assert output.read_bytes() == before


def test_settings_have_a_hash(tmp_path: Path) -> None:
    for name, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / name).write_bytes(content)
    known = settings_hash(tmp_path / "a.pt", "carry", 1, None)
    assert settings_hash(tmp_path / "b.pt", "carry", 1, None) == known
    with pytest.raises(InputError, match=r"d\.pt: no such checkpoint"):
        settings_hash(tmp_path / "d.pt", "carry", 1, None)
    assert len({known, settings_hash(tmp_path / "c.pt", "carry", 1, None), settings_hash(tmp_path / "a.pt", 1)}) == 3
