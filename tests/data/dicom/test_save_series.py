from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor

from monai_nce.data import SaveDicomSeriesd, check_output_format, read_ct
from monai_nce.data.dicom import save_series
from monai_nce.data.dicom.geometry import DicomSeries
from monai_nce.errors import InputError


@pytest.fixture
def source(write_series: Callable[..., Path], tmp_path: Path) -> Path:
    return write_series(tmp_path / "source")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


def item(source: Path, out: Path, change: float = 0.0) -> dict[str, Any]:
    volume, affine = read_ct(source)
    pred = MetaTensor(torch.from_numpy(volume)[None] + change, affine=affine)
    return {"pred": pred, "source": str(source), "output": str(out / "a_synthetic_cect.nii.gz"), "other": 1}


def saver(checkpoint: Path, **changes: Any) -> SaveDicomSeriesd:
    settings = {"checkpoint": checkpoint, "mode": "carry", "window_level": 50, "window_width": 300}
    return SaveDicomSeriesd("pred", **{**settings, **changes})


def test_the_series_lies_beside_where_the_nifti_file_would(source: Path, checkpoint: Path, tmp_path: Path) -> None:
    data = item(source, tmp_path / "out", change=7)
    result = saver(checkpoint, mode="clamp")(data)
    assert result == data
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_synthetic_cect"]
    made = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "a_synthetic_cect").iterdir())]
    for index, dataset in enumerate(made):
        np.testing.assert_array_equal(dataset.pixel_array.T, data["pred"][0, :, :, index])
    assert hashlib.sha256(b"weights").hexdigest() in made[0].DerivationDescription
    assert "lost" in made[0].DerivationDescription  # what clamp says


@pytest.mark.parametrize("change", ["shape", "affine"])
def test_a_volume_on_another_grid_is_refused(change: str, source: Path, checkpoint: Path, tmp_path: Path) -> None:
    data = item(source, tmp_path / "out")
    if change == "shape":
        data["pred"] = data["pred"][:, :-1]
    else:
        data["pred"].affine[0, 0] *= -1  # mirrored
    with pytest.raises(ValueError, match="expected a volume on the grid of the acquired series"):
        saver(checkpoint)(data)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_ends_in_one_line(
    source: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom, "dcmwrite", full)
    with pytest.raises(InputError, match=r"a_synthetic_cect: cannot be written: No space left on device"):
        saver(checkpoint)(item(source, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_missing_keys(checkpoint: Path) -> None:
    with pytest.raises(KeyError):
        saver(checkpoint)({"output": "a.nii.gz"})
    assert saver(checkpoint, allow_missing_keys=True)({"image": 1}) == {"image": 1}


def test_formats(source: Path, tmp_path: Path) -> None:
    items = [{"image": str(source), "output": str(tmp_path / "out" / "a_synthetic_cect.nii.gz")}]
    for output_format in ("nifti", "dicom", "both"):
        check_output_format(items, output_format)
    with pytest.raises(InputError, match="expected output_format to be one of .* but got 'dcm'"):
        check_output_format(items, "dcm")


@pytest.mark.parametrize("name", ["a.nii", "b.nii.gz"])
def test_a_nifti_file_cannot_become_dicom(name: str, source: Path, tmp_path: Path) -> None:
    items = [
        {"image": str(source), "output": str(tmp_path / "out" / "source_synthetic_cect.nii.gz")},
        {"image": str(tmp_path / name), "output": str(tmp_path / "out" / "x_synthetic_cect.nii.gz")},
    ]
    check_output_format(items, "nifti")
    for output_format in ("dicom", "both"):
        with pytest.raises(InputError, match=rf"{name}: output_format {output_format} needs a DICOM series"):
            check_output_format(items, output_format)


def test_a_folder_with_other_files_in_place_of_the_result_is_named_beforehand(source: Path, tmp_path: Path) -> None:
    items = [{"image": str(source), "output": str(tmp_path / "a_synthetic_cect.nii.gz")}]
    (tmp_path / "a_synthetic_cect").mkdir()
    check_output_format(items, "dicom")
    (tmp_path / "a_synthetic_cect" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"holds other files: thesis\.tex"):
        check_output_format(items, "dicom")
    check_output_format(items, "nifti")


def test_a_multi_frame_image_cannot_become_single_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = DicomSeries.__new__(DicomSeries)
    frames = {"files": (tmp_path / "enhanced.dcm",) * 3, "shape": (4, 4, 3)}
    for name, value in frames.items():
        object.__setattr__(series, name, value)
    monkeypatch.setattr(save_series, "check_dicom", lambda source: series)
    items = [{"image": str(tmp_path), "output": str(tmp_path / "out" / "a_synthetic_cect.nii.gz")}]
    with pytest.raises(InputError, match=r"enhanced\.dcm: output_format both needs one file per slice"):
        check_output_format(items, "both")
