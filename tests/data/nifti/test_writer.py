from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import os
import resource
import struct
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_nce.data.files.atomic import write_json
from monai_nce.data.nifti.writer import write_nifti_hu, write_nifti_labels

AFFINE = np.array([[-0.7, 0, 0, 12.5], [0, 0.8, 0, -3], [0, 0, 2.5, 100], [0, 0, 0, 1]])
# every order of the axes with every direction: 48
ORIENTATIONS = [
    np.eye(3)[list(order)] * signs
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let every write beyond ``size`` bytes fail, in the middle of a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_volume(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ct.nii.gz"
    write_nifti_hu(path, np.zeros((2, 3, 4)), AFFINE)
    old = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space"):
        write_nifti_hu(path, np.ones((2, 3, 4)), AFFINE)
    assert path.read_bytes() == old
    assert files(tmp_path) == ["ct.nii.gz"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_volume(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ct{suffix}"
    noise = np.random.default_rng(0).integers(-1000, 1000, (40, 40, 20))
    write_nifti_hu(path, noise, AFFINE)
    old = path.read_bytes()
    with file_size_limit(10_000), pytest.raises(OSError, match="File too large"):  # as a full disk, without one
        write_nifti_hu(path, noise + 1, AFFINE)
    assert path.read_bytes() == old
    assert files(tmp_path) == [path.name]


def test_json_is_strict(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, "ü"]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, "ü"]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert files(tmp_path) == ["a.json"]


def test_hu_are_rounded_and_clipped_never_wrapped(tmp_path: Path) -> None:
    volume = np.array([40000, -40000, 65436, 1.6, -1.6, 3071], dtype=np.float32).reshape(1, 2, 3)
    write_nifti_hu(tmp_path / "a.nii", volume, AFFINE)
    image = nib.load(tmp_path / "a.nii")
    assert image.get_data_dtype() == np.int16
    assert np.asarray(image.dataobj).ravel().tolist() == [32767, -32768, 32767, 2, -2, 3071]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad: float, tmp_path: Path) -> None:
    volume = np.zeros((2, 2, 2))
    volume[1, 0, 1] = bad
    with pytest.raises(ValueError, match="expected finite HU"):
        write_nifti_hu(tmp_path / "a.nii", volume, AFFINE)
    assert files(tmp_path) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_header_says_hu_in_millimetres(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_nifti_hu(path, np.zeros((2, 3, 4)), AFFINE, description="synthetic, research only")
    content = gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes()
    assert struct.unpack("<ff", content[112:120]) == (1.0, 0.0)  # slope, intercept as stored
    image = nib.load(path)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["sform_code"] == image.header["qform_code"] == 1
    assert image.header["descrip"].item() == b"synthetic, research only"
    np.testing.assert_allclose(image.get_qform(), AFFINE, atol=1e-4)


@pytest.mark.parametrize("make", [torch.tensor, MetaTensor, lambda a: torch.tensor(a).to(torch.bfloat16)])
def test_tensors_are_written(make, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "a.nii", make(np.full((1, 2, 3), -100.0)), AFFINE)
    assert (np.asarray(nib.load(tmp_path / "a.nii").dataobj) == -100).all()


@pytest.mark.parametrize("axes", ORIENTATIONS)
def test_every_orientation_keeps_its_world_coordinates(axes: np.ndarray, tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3] = axes * np.array([0.7, 0.8, 2.5])
    affine[:3, 3] = 11, -7, 5
    volume = np.arange(24).reshape(2, 3, 4)
    write_nifti_hu(tmp_path / "a.nii", volume, affine)
    image = nib.load(tmp_path / "a.nii")
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume)
    for stored in (image.get_sform(), image.get_qform()):
        np.testing.assert_allclose(stored, affine, atol=1e-5)


def test_a_shear_stays_in_the_sform_and_never_in_a_wrong_qform(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 0.6
    write_nifti_hu(tmp_path / "a.nii", np.zeros((4, 4, 40)), sheared)
    image = nib.load(tmp_path / "a.nii")
    np.testing.assert_allclose(image.affine, sheared, rtol=1e-6)
    assert image.header["qform_code"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"volume": np.zeros((2, 2))},
        {"volume": np.zeros((1, 2, 2, 2))},
        {"volume": np.zeros((0, 2, 2))},
        {"affine": np.eye(3)},
        {"affine": np.diag([1.0, 0, 1, 1])},
        {"affine": np.full((4, 4), np.nan)},
        {"path": "a.mha"},
        {"description": "x" * 80},
        {"description": "ü"},
    ],
)
def test_wrong_arguments_write_nothing(change: dict, tmp_path: Path) -> None:
    given = {"path": "a.nii", "volume": np.zeros((2, 2, 2)), "affine": AFFINE, **change}
    with pytest.raises(ValueError):
        write_nifti_hu(**{**given, "path": tmp_path / given["path"]})
    assert files(tmp_path) == []


def test_labels_are_bytes(tmp_path: Path) -> None:
    labels = np.array([0, 1, 255, 52]).reshape(1, 2, 2)
    write_nifti_labels(tmp_path / "a.nii.gz", labels, AFFINE)
    image = nib.load(tmp_path / "a.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), labels)


@pytest.mark.parametrize("bad", [256, -1, 0.5, np.nan])
def test_other_labels_are_refused(bad: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="whole numbers"):
        write_nifti_labels(tmp_path / "a.nii", np.full((1, 1, 1), bad), AFFINE)
