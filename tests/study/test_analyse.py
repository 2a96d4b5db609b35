"""What is written of a study: whole, the same again, and without who said it or of whom."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from monai_nce.errors import InputError
from monai_nce.study.analyse import analyse_study, analysis, export_grades, exported_rows
from monai_nce.study.database import Study
from tests.study.studies import make_study


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study of which reader 1 has graded all, reader 2 three images."""
    made = Study(make_study(tmp_path)[0])
    for reader, count in ((1, 8), (2, 3)):
        for number in range(count):
            now = made.place(reader).now
            assert now
            quality = 2 if made.image(reader, now).method == "alpha" else 4
            grade: dict[str, Any] = {"quality": quality, "artefact": 1 + number % 5, "looks_real": None}
            comment = "=cmd()" if not number else 'a, "b"\nc'
            made.keep_grade(reader, now, {**grade, "comment": comment, "marks": [(1, 2, 3)], "seconds": 9.44})
    return made


def test_figure_tables_and_grades_are_written(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "analysis"
    found = analyse_study(study, folder)
    names = ["analysis.json", "grades.csv", "grades.png", "grades.svg", "report.html"]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert json.loads((folder / "analysis.json").read_text()) == found
    before = {name: (folder / name).read_bytes() for name in names}
    analyse_study(study, folder)
    assert before == {name: (folder / name).read_bytes() for name in names}
    with Image.open(folder / "grades.png") as picture:
        assert picture.width > 1200 and picture.info["Comment"] == "Research use only."
    drawn = (folder / "grades.svg").read_text()
    for text in (
        "1 excellent",
        "5 poor",
        "alpha",
        "beta",
        "Image quality",
        "Artefacts",
        "2.00",
        "4.00",
        "Research use only.",
    ):
        assert text in drawn
    page = (folder / "report.html").read_text()
    for text in ("Reader 2 has graded 3 of 8 images", "alpha − beta", "readers 1 and 2", "research use only"):
        assert text in page


def test_the_numbers_are_those_of_the_grades(study: Study) -> None:
    found = analysis(study)
    grades = {(one["criterion"], one["method"]): one for one in found["grades"]}
    assert grades["quality", "alpha"]["mean"] == 2 and grades["quality", "beta"]["mean"] == 4
    assert grades["quality", "alpha"]["count"] >= 3
    quality = found["comparisons"][0]
    assert (quality["cases"], quality["difference"], quality["p"]) == (3, -2, 0.25)  # three of one sign: 2 / 2^3
    assert [(one["graded"], one["planned"]) for one in found["readers"]] == [(8, 8), (3, 8)]
    within = found["agreement"][0]
    assert (within["readers"], within["count"], within["same"]) == ([1, 1], 2, 1)
    assert sum(one["marks"] for one in found["marks"]) == 11


def test_nothing_names_a_reader_or_a_patient(study: Study, tmp_path: Path) -> None:
    analyse_study(study, tmp_path / "analysis")
    for file in (tmp_path / "analysis").iterdir():
        if file.suffix != ".png":
            text = file.read_text()
            assert not re.search(r"\bp[123]\b", text.partition("<script")[0]), file
            assert str(tmp_path) not in text
    assert {row["case"] for row in exported_rows(study)} == {"1", "2", "3"}
    assert {row["case"] for row in exported_rows(study, keep_patient_data=True)} == {"p1", "p2", "p3"}
    assert not {"at", "id", "token"} & set(exported_rows(study)[0])


def test_a_spreadsheet_carries_out_nothing(study: Study, tmp_path: Path) -> None:
    assert export_grades(study, tmp_path / "grades.csv") == 11
    with open(tmp_path / "grades.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["comment"] for row in rows[:2]] == ["'=cmd()", 'a, "b"\nc']
    assert json.loads(rows[0]["marks"])[0]["voxel"] == [1, 2, 3]
    assert (rows[0]["reader"], rows[0]["place"], rows[0]["seconds"], rows[0]["looks_real"]) == ("1", "1", "9.4", "")
    export_grades(study, tmp_path / "grades.json")
    assert json.loads((tmp_path / "grades.json").read_text()) == exported_rows(study)
    with pytest.raises(InputError, match="expected a name that ends in .csv or .json"):
        export_grades(study, tmp_path / "grades.xlsx")


def test_a_study_that_nobody_began_is_refused(tmp_path: Path) -> None:
    folder, _ = make_study(tmp_path)
    with pytest.raises(InputError, match="nothing is graded yet"):
        analyse_study(Study(folder), tmp_path / "analysis")
    assert not (tmp_path / "analysis").exists()
