from __future__ import annotations

import json
from pathlib import Path

import pytest

from monai_nce.data import DatasetWriter, read_datalist_file, training_data
from monai_nce.errors import InputError
from tests.data.datasets import ABOUT, AFFINE, VOLUME, make

SET = {"name": "n", "patients": 2, "scans": 3, "licence": "CC0-1.0"}


def test_one_data_set_and_several(tmp_path: Path) -> None:
    real, unknown = make(tmp_path / "a", kind="real"), make(tmp_path / "b")
    assert training_data(real) == training_data(str(real)) == [{**SET, "kind": "real"}]
    assert training_data([unknown, real, str(real)]) == [SET, {**SET, "kind": "real"}]


def test_a_set_without_training_patients_is_not_learnt_from(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "test", **ABOUT) as dataset:
        dataset.add("test", "a", AFFINE, source=VOLUME)
    assert training_data([tmp_path / "test", make(tmp_path / "a")]) == [SET]
    assert training_data(tmp_path / "test") == []


def test_a_list_that_names_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    content = read_datalist_file(folder)
    for key in ("description", "licence", "provenance"):
        del content[key]
    (folder / "datalist.json").write_text(json.dumps({**content, "name": 3.5}))
    assert training_data(folder) == [{"name": "data set", "patients": 2, "scans": 3}]


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no datalist\.json"):
        training_data([make(tmp_path / "a"), tmp_path])
