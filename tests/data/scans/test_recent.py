from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_nce.data import CTReader, check_inference_items, inference_items
from monai_nce.data.nifti import reader as nifti_reader
from monai_nce.data.scans.recent import keep_volume, listed_volume, take_volume

HU = np.round(np.linspace(-1000, 300, 8 * 8 * 4)).reshape(8, 8, 4).astype(np.int16)


def save(path: Path, hu: np.ndarray = HU) -> Path:
    nib.save(nib.Nifti1Image(hu, np.diag([1.0, 1, 3, 1])), path)
    return path


def read(image: str | list[str]) -> np.ndarray:
    reader = CTReader()
    return reader.get_data(reader.read(image))[0]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The NIfTI files that were unpacked."""
    done: list[Path] = []
    whole = nifti_reader._decompressed

    def spy(path: Path, image: Any) -> Any:
        done.append(path)
        return whole(path, image)

    monkeypatch.setattr(nifti_reader, "_decompressed", spy)
    return done


def test_the_check_of_one_volume_is_its_only_reading(tmp_path: Path, reads: list[Path]) -> None:
    path = save(tmp_path / "a.nii.gz")
    (item,) = items = inference_items(path, tmp_path / "out")
    check_inference_items(items)
    np.testing.assert_array_equal(read(item["image"]), HU)
    assert reads == [path]
    np.testing.assert_array_equal(read(item["image"]), HU)  # not held any longer
    assert reads == [path, path]


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz")
    (item,) = items = inference_items(path, tmp_path / "out")
    check_inference_items(items)
    save(path, HU - 5)
    os.utime(path, ns=(1, 1))
    np.testing.assert_array_equal(read(item["image"]), np.maximum(HU - 5, -1024))


def test_of_several_volumes_none_is_held(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii.gz")
    items = inference_items(tmp_path, tmp_path / "out")
    check_inference_items(items)
    assert [take_volume(item["image"]) for item in items] == [None, None]


def test_a_new_listing_forgets_the_volume_of_the_one_before(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz")
    check_inference_items(inference_items(path, tmp_path / "out"))
    inference_items(path, tmp_path / "out")
    assert take_volume(str(path)) is None


def test_what_was_not_listed_is_not_kept(tmp_path: Path) -> None:
    keep_volume(str(tmp_path / "b.nii"), HU, np.eye(4))
    assert take_volume(str(tmp_path / "b.nii")) is None


def test_a_series_is_listed_until_a_slice_comes_or_goes(tmp_path: Path, write_series: Callable[..., Path]) -> None:
    folder = write_series(tmp_path / "series")
    (item,) = inference_items(folder, tmp_path / "out")
    found = listed_volume(item["image"])
    assert found is not None and set(found.files) == set(folder.iterdir())
    os.utime(folder, ns=(1, 1))  # as when a file is added or removed
    assert listed_volume(item["image"]) is None
    next(folder.iterdir()).unlink()
    assert listed_volume(item["image"]) is None
