from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.synthetic_studies import UID_ROOT
from data_prep.pair_list import read_pair_list
from monai_nce.errors import InputError

Add = Callable[..., Path]


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_paths_and_series_uids(add_series: Add, tmp_path: Path) -> None:
    add_series("s/1", "one")
    add_series("s/2", "two")
    add_series("beside/a", "three")
    path = write(
        tmp_path / "list.csv",
        "\ufeffPatient;NECT;CECT;phase",
        f"B;{UID_ROOT}1.1;{UID_ROOT}1.2;late",
        "A;beside/a;s/2;",
        ";;;",
        f"B;s/1;{tmp_path}/none;",
    )
    (first,), (second, third) = read_pair_list(path, tmp_path / "s")
    assert first.series is not None and second.series is not None
    assert [(one.volume.description, one.phase, one.evidence) for one in first.series] == [
        ("three", "nect", "csv"),
        ("two", "cect", "csv"),
    ]
    assert [(one.volume.description, one.phase) for one in second.series] == [("one", "nect"), ("two", "late")]
    assert third.series is None and third.problem.startswith("row 5: cect: ") and "no such file" in third.problem


def test_several_volumes_in_a_folder_are_no_cell(add_series: Add, tmp_path: Path) -> None:
    add_series("s/1")
    add_series("s/2")
    ((row,),) = read_pair_list(write(tmp_path / "list.csv", "patient,nect,cect", "A,s,s/2"))
    assert row.series is None and row.problem.endswith("expected one volume but found 2")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("patient,nect", "a,b"), "has no cect"),
        (("patient,nect,cect",), "holds no row"),
        (("patient,nect,cect", "secret,b,"), "row 2 has no cect"),
        (("patient,nect,cect", ",b,c"), "row 2 has no patient"),
        (("patient,nect,cect,phase", "secret,b,c,venous"), "row 2: expected as phase portal, cect, late, arterial"),
        (("",), "has no patient and nect and cect"),
    ],
)
def test_a_bad_list_is_one_line_without_patients(rows: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_pair_list(write(tmp_path / "list.csv", *rows))
    assert "secret" not in str(error.value)


def test_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_pair_list(tmp_path / "none.csv")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_pair_list(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"patient,nect,cect\n\xff,b,c\n")
    with pytest.raises(InputError, match="not a readable CSV"):
        read_pair_list(tmp_path / "x.csv")
