from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.patient_pattern import find_scans
from monai_nce.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_patients_by_folder_by_name_and_by_both(tmp_path: Path) -> None:
    touch(tmp_path, "b/t1.nii", "a/t1.nii", "a/t2.nii", "c/d/t1.nii", "p1/p1_t1.nii", "p2/p1_t1.nii", "x_t1.nii")
    assert find_scans(f"{tmp_path}/{{patient}}/t1.nii") == {name: tmp_path / name / "t1.nii" for name in ("a", "b")}
    assert find_scans(f"{tmp_path}//{{patient}}/{{patient}}_t1.nii") == {"p1": tmp_path / "p1" / "p1_t1.nii"}
    assert find_scans(f"{tmp_path}/{{patient}}_t1.nii") == {"x": tmp_path / "x_t1.nii"}


def test_other_signs_stand_for_themselves(tmp_path: Path) -> None:
    touch(tmp_path, "a [1]*/t1.nii", "b/t1+x.nii")
    assert list(find_scans(f"{tmp_path}/a [1]*/{{patient}}.nii")) == ["t1"]
    assert list(find_scans(f"{tmp_path}/{{patient}}/t1+x.nii")) == ["b"]


@pytest.mark.parametrize(
    ("files", "pattern", "message"),
    [
        (["a/t1.nii"], "a/t1.nii", r"expected \{patient\} where the patient's name stands"),
        (["a/t1.nii"], "{patient}/t2.nii", "no such file for any patient"),
        (["a b/t1.nii"], "{patient}/t1.nii", "expected a patient's name of .* but got 'a b'"),
        (["A/t1.nii", "a/t1.nii"], "{patient}/t1.nii", "a and A give the same file"),
        (["a/t1.nii", "a_aligned/t1.nii"], "{patient}/t1.nii", "a_aligned and a give the same file"),
    ],
)
def test_what_names_no_patients_is_refused(files: list[str], pattern: str, message: str, tmp_path: Path) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message):
        find_scans(f"{tmp_path}/{pattern}")
