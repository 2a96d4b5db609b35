"""Write what a study found: the figure, tables, a page, and grades without anything that names a reader or patient."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from monai_nce.data.files.atomic import atomic_path, write_json, writing
from monai_nce.data.files.writable import check_writable
from monai_nce.errors import InputError
from monai_nce.study.database import Study
from monai_nce.study.figure import TITLES, draw_grades
from monai_nce.study.statistics import agreement, compare_methods, real_or_synthetic, summaries

__all__ = ["analyse_study", "analysis", "export_grades", "exported_rows"]

COLUMNS = ["reader", "place", "case", "method", "repeat", "quality", "artefact", "looks_real"]
COLUMNS += ["seconds", "marks", "comment"]
TEST = (
    "Wilcoxon's signed-rank test, exact, two-sided, over cases: a case counts once, by its readers' mean. Below 0 the "
    "first method has the better grades. Holm's correction is over the tests of both criteria."
)
AGREEMENT = (
    "Of images that a reader graded twice, and of the first grades of two readers. Kappa: Cohen's, with quadratic "
    "weights; alpha: Krippendorff's, for ordinal data. 1 is full agreement, 0 that of chance. No value where nothing "
    "can be compared, or all grades are the same."
)
TOLD = (
    "Wilson's interval. p: Fisher's exact test of this reader's answers to real against all synthetic images; a large "
    "one says that this study does not show that the reader can tell them apart."
)
# of the tables with a row for each method, each pair of methods and each agreement
BY_METHOD = ("method", "grades 1, 2, 3, 4, 5", "mean", "median")
BY_PAIR = ("methods", "cases", "mean difference", "p", "p, Holm")
BY_READERS = ("readers", "images", "same grade", "kappa", "alpha")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would carry out a text that begins so


def exported_rows(study: Study, keep_patient_data: bool = False) -> list[dict[str, Any]]:
    """List the grades under numbers of readers and cases, without times of day.

    Args:
        study: whose grades.
        keep_patient_data: call cases as their files are called, which may name a patient.
    """
    names = study.about["cases"]
    width = len(str(len(names)))
    called = {name: name if keep_patient_data else f"{number:0{width}}" for number, name in enumerate(names, start=1)}
    rows = []
    for one in study.grades():
        row = {**one, "case": called[one["case"]], "place": one["place"] + 1, "seconds": round(one["seconds"], 1)}
        rows.append({column: row[column] for column in COLUMNS})
    return rows


def export_grades(study: Study, path: str | PathLike[str], keep_patient_data: bool = False) -> int:
    """Write the grades as ``.csv`` or ``.json``; return how many there are.

    Raises:
        InputError: for another suffix.
    """
    path = Path(path)
    rows = exported_rows(study, keep_patient_data)
    if path.suffix == ".json":
        with writing(path):
            write_json(path, rows)
    elif path.suffix == ".csv":
        _write_text(path, _as_csv(rows))
    else:
        raise InputError(f"{path}: expected a name that ends in .csv or .json")
    return len(rows)


def analysis(study: Study, keep_patient_data: bool = False) -> dict[str, Any]:
    """Compute all statistics of a study, for JSON.

    Raises:
        InputError: if nothing is graded yet.
    """
    rows = exported_rows(study, keep_patient_data)
    if not rows:
        raise InputError(f"{study.folder}: nothing is graded yet")
    about, methods, readers = study.about, study.about["methods"], study.readers
    planned = study.planned()
    return {
        "research_use_only": True,
        "study": {key: about[key] for key in ("version", "methods", "real", "ask_real", "seed", "repeats")},
        "cases": len(about["cases"]),
        "readers": [
            {
                "reader": reader,
                "planned": planned[reader],
                "graded": sum(row["reader"] == reader for row in rows),
                "median_seconds": _median([row["seconds"] for row in rows if row["reader"] == reader]),
            }
            for reader in readers
        ],
        "grades": summaries(rows, methods),
        "marks": [
            {
                "method": method,
                "images": sum(row["method"] == method for row in rows),
                "marked": sum(bool(row["marks"]) for row in rows if row["method"] == method),
                "marks": sum(len(row["marks"]) for row in rows if row["method"] == method),
            }
            for method in methods
        ],
        "comparisons": compare_methods(rows, methods),
        "agreement": agreement(rows, readers),
        "real_or_synthetic": real_or_synthetic(rows, readers, methods, about["real"]),
    }


def analyse_study(study: Study, folder: str | PathLike[str], keep_patient_data: bool = False) -> dict[str, Any]:
    """Write the paper's Fig. 7 as ``grades.png`` and ``.svg``, ``analysis.json``, ``grades.csv`` and ``report.html``.

    Returns:
        What :func:`analysis` does.

    Raises:
        InputError: if nothing is graded yet, or the folder cannot be written to.
    """
    from monai_nce.visualize import Report, write_report
    from monai_nce.visualize.page import version_table

    folder = Path(folder)
    check_writable(folder)
    found = analysis(study, keep_patient_data)
    pictures = _pictures(found)
    for suffix, content in pictures.items():
        with writing(folder), atomic_path(folder / f"grades.{suffix}") as partial:
            partial.write_bytes(content)
    with writing(folder):
        write_json(folder / "analysis.json", found)
    _write_text(folder / "grades.csv", _as_csv(exported_rows(study, keep_patient_data)))
    report = Report(
        "Reader study",
        warnings=_unfinished(found),
        figures={"Distribution of the grades": pictures["png"]},
        figures_first=True,
        tables=[*_tables(found), version_table()],
    )
    write_report(folder / "report.html", report)
    return found


def _pictures(found: Mapping[str, Any]) -> dict[str, bytes]:
    import matplotlib

    readers = sum(bool(one["graded"]) for one in found["readers"])
    count = f"{readers} reader{'s' * (readers != 1)}"
    note = f"{found['cases']} cases, {count}; numbers are counts of grades, repeats left out."
    pictures = {}
    with matplotlib.rc_context({"svg.hashsalt": "nce", "svg.fonttype": "none"}):
        for suffix, metadata in (("png", {"Comment": "Research use only."}), ("svg", {"Date": None})):
            held = io.BytesIO()
            draw_grades(found["grades"], note).savefig(held, format=suffix, metadata=metadata)
            pictures[suffix] = held.getvalue()
    return pictures


def _unfinished(found: Mapping[str, Any]) -> list[str]:
    return [
        f"Reader {one['reader']} has graded {one['graded']} of {one['planned']} images: the study is not finished."
        for one in found["readers"]
        if one["graded"] < one["planned"]
    ]


def _tables(found: Mapping[str, Any]) -> list[Any]:
    from monai_nce.visualize import ReportTable

    tables = []
    for criterion, name in TITLES.items():
        rows = [
            [one["method"], ", ".join(map(str, one["grades"])), _number(one["mean"]), _number(one["median"], 1)]
            for one in found["grades"]
            if one["criterion"] == criterion
        ]
        tables.append(ReportTable(f"{name}: 1 excellent, 5 poor", BY_METHOD, rows, "Counts; repeats are left out."))
    for criterion, name in TITLES.items():
        rows = [
            [f"{one['one']} − {one['other']}", str(one["cases"]), _number(one["difference"])]
            + [_p(one["p"]), _p(one["p_holm"])]
            for one in found["comparisons"]
            if one["criterion"] == criterion
        ]
        tables.append(ReportTable(f"{name}: methods in pairs", BY_PAIR, rows, TEST))
    for criterion, name in TITLES.items():
        rows = [
            [_readers(one), str(one["count"]), _share(one.get("same"))]
            + [_number(one.get("kappa")), _number(one.get("alpha"))]
            for one in found["agreement"]
            if one["criterion"] == criterion
        ]
        tables.append(ReportTable(f"{name}: agreement", BY_READERS, rows, AGREEMENT))
    if found["real_or_synthetic"]:
        tables.append(
            ReportTable(
                "Taken for real",
                ("method", "images", "taken for real", "95 % interval", "p"),
                [
                    [f"{one['method']}, reader {one['reader']}", str(one["count"])]
                    + [_share(one["called_real"] / one["count"]), f"{_share(one['low'])} to {_share(one['high'])}"]
                    + [_p(one["p"])]
                    for one in found["real_or_synthetic"]
                ],
                TOLD,
            )
        )
    tables.append(
        ReportTable(
            "Marks of artefacts",
            ("method", "readings", "with a mark", "marks"),
            [[one["method"], *(str(one[key]) for key in ("images", "marked", "marks"))] for one in found["marks"]],
            "Repeats count.",
        )
    )
    rows = [[f"reader {one['reader']}", f"{one['graded']} of {one['planned']}"] for one in found["readers"]]
    for row, one in zip(rows, found["readers"], strict=True):
        row.append("–" if one["median_seconds"] is None else f"{one['median_seconds']:.0f} s")
    tables.append(ReportTable("Readers", ("reader", "graded", "median time"), rows))
    return tables


def _readers(one: Mapping[str, Any]) -> str:
    numbers = one["readers"]
    if "alpha" in one:
        return "all readers"
    return f"reader {numbers[0]}, twice" if numbers[0] == numbers[1] else f"readers {numbers[0]} and {numbers[1]}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _p(value: float | None) -> str:
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        comment = row["comment"]
        guarded = f"'{comment}" if comment.startswith(FORMULA) else comment
        real = "" if row["looks_real"] is None else int(row["looks_real"])
        marks = json.dumps(row["marks"]) if row["marks"] else ""
        writer.writerow({**row, "repeat": int(row["repeat"]), "looks_real": real, "marks": marks, "comment": guarded})
    return text.getvalue()


def _write_text(path: Path, text: str) -> None:
    with writing(path), atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")
