from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from monai_nce.data.dataset.datalist import read_datalist
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.errors import InputError
from tests.data.datasets import ABOUT, AFFINE, VOLUME, make


def spoil(folder: Path, change: Any) -> None:
    path = folder / "datalist.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("test"), "expected 'test' to be a list"),
        (lambda c: c.update(training={"a": 1}), "expected 'training' to be a list"),
        (lambda c: c.update(training=["a"]), "list of objects"),
        (lambda c: c["training"][0].pop("patient"), "no usable patient id"),
        (lambda c: c["training"][0].update(patient=3), "no usable patient id"),
        (lambda c: c["training"][1].update(patient="a"), "a is listed twice"),
        (lambda c: c["test"][0].update(patient="a"), "a is listed twice"),
        (lambda c: c["training"][0].update(source=1), "expected a path"),
        (lambda c: c["training"][0].update(source="volumes/none.nii"), "missing"),
        (lambda c: c["training"][0].update(source="../other.nii"), "outside"),
        (lambda c: c["training"][0].update(source="/etc/passwd"), "outside"),
        (lambda c: c["training"][0].update(source="datalist.json"), "expected an uncompressed .nii"),
        (lambda c: c["training"][0].update(source="volumes/b_source.nii"), r"shape .* differs"),
        (lambda c: c["training"][0].update(source="volumes/a_labels.nii"), "expected unscaled int16"),
        (lambda c: c["training"][1].pop("source"), "neither source nor target"),
        (
            lambda c: c["test"][0].update(target="volumes/a_target.nii"),
            "a_target.nii: is listed for training and for test",
        ),
        (lambda c: c["test"][0].update(aligned_source="./volumes/b_source.nii"), "is listed for training and for test"),
    ],
)
def test_a_spoilt_datalist_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "set")
    spoil(folder, change)
    with pytest.raises(InputError, match=message):
        read_datalist(folder)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "set")
    path = folder / "volumes" / "b_source.nii"
    path.rename(tmp_path / "elsewhere.nii")
    path.symlink_to(tmp_path / "elsewhere.nii")
    with pytest.raises(InputError, match="outside"):
        read_datalist(folder)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def move(path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] = 4
    write_nifti_hu(path, VOLUME, moved)


def as_float(path: Path) -> None:
    nib.save(nib.Nifti1Image(VOLUME.astype(np.float32), AFFINE), path)


def scaled(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(2).tobytes()
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncate, "truncated"),
        (move, "affine differs"),
        (as_float, "expected unscaled int16"),
        (scaled, "expected unscaled int16"),
        (lambda path: path.write_text("hello"), "not a NIfTI"),
        (lambda path: path.write_bytes(bytes(400)), "not a NIfTI"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_a_spoilt_volume_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "set")
    change(folder / "volumes" / "a_target.nii")
    with pytest.raises(InputError, match=message):
        read_datalist(folder)


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such data set folder"):
        read_datalist(tmp_path / "none")
    with pytest.raises(InputError, match=r"no datalist\.json"):
        read_datalist(tmp_path)
    folder = make(tmp_path / "set")
    with pytest.raises(InputError, match="expected one of training, validation, test but got 'train'"):
        read_datalist(folder, "train")
    with pytest.raises(InputError, match="'validation' is empty"):
        read_datalist(folder, "validation")
    with pytest.raises(InputError, match="patient b has no target"):
        read_datalist(folder, "training", require=["target"])
    (folder / "datalist.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_datalist(folder)


def test_three_hundred_patients_are_read_quickly(tmp_path: Path) -> None:
    folder = make(tmp_path)

    def multiply(content: dict[str, Any]) -> None:
        content["training"] = [{**content["training"][0], "patient": f"p{index}"} for index in range(300)]

    spoil(folder, multiply)
    started = time.process_time()
    assert len(read_datalist(tmp_path, "training", require=["source", "target"])) == 300
    assert time.process_time() - started < 1


def test_phase_and_level_come_back_where_they_are_known(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "set", **ABOUT) as dataset:
        dataset.add("training", "a", AFFINE, target=VOLUME, phase="portal", level=1.25)
        dataset.add("training", "b", AFFINE, target=VOLUME, phase="delayed")
        dataset.add("test", "c", AFFINE, target=VOLUME, level=0.7)
        dataset.add("test", "d", AFFINE, source=VOLUME)
    found = [{key: item.get(key) for key in ("phase", "level")} for item in read_datalist(tmp_path / "set")]
    assert [(one["phase"], one["level"]) for one in found] == [
        ("portal", 1.25), ("delayed", None), (None, 0.7), (None, None),
    ]  # fmt: skip
    spoil(tmp_path / "set", lambda content: content["training"][0].update(phase=None))
    assert "phase" not in read_datalist(tmp_path / "set")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phase": "venous"}, "patient a: phase: expected one of arterial, portal, delayed but got 'venous'"),
        ({"level": 3}, "patient a: level: expected a number from 0.3 to 2 .* but got 3"),
        ({"level": "1"}, "patient a: level: expected a number from 0.3 to 2 .* but got '1'"),
    ],
)
def test_no_such_phase_or_level(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = make(tmp_path / "set")
    spoil(folder, lambda content: content["training"][0].update(change))
    with pytest.raises(InputError, match=message):
        read_datalist(folder)
