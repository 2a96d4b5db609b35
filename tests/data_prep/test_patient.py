from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.preparation import CECT_HU, NECT_HU, body, write_series
from data_prep.archives import find_patients
from data_prep.patient import Job, Outcome, PairSettings, prepare_patient

Add = Callable[..., Path]
SETTINGS = PairSettings(size=32, spacing=10.625, min_slices=5)


def prepare(root: Path, **settings: Any) -> Outcome:
    (series,) = find_patients(root)
    return prepare_patient(Job("pair_000", tuple(series)), PairSettings(**{**vars(SETTINGS), **settings}))


def test_slices_that_are_not_shared_are_cut(add_series: Add, tmp_path: Path) -> None:
    add_series("s/a", "nativ", slices=12, first_z=20, AcquisitionDate="20200101", AcquisitionTime="1000")
    add_series("s/b", "portal", enhanced=True, slices=14, AcquisitionDate="20200101", AcquisitionTime="1003")
    outcome = prepare(tmp_path / "s")
    assert outcome.source is not None and outcome.target is not None and outcome.affine is not None
    assert outcome.source.shape == outcome.target.shape == (32, 32, 10)  # from 20 to 65 mm
    assert outcome.source.dtype == outcome.target.dtype == np.int16
    np.testing.assert_allclose(outcome.affine[:3, 2], [0, 0, 5], atol=1e-9)
    assert outcome.affine[2, 3] == pytest.approx(20)
    assert outcome.source.min(axis=(0, 1)).max() < -900 and outcome.source.max(axis=(0, 1)).min() > 0  # none is air
    # the left kidney of the body; 0 is the patient's left in the DICOM's columns, the right in RAS's
    for volume, hu in ((outcome.source, NECT_HU), (outcome.target, CECT_HU)):
        assert volume[10, 13].mean() == pytest.approx(hu, abs=5)
    row = outcome.report
    assert {key: row[key] for key in ("slices", "slices_cut", "overlap", "same_study", "shift_mm")} == {
        "slices": 10,
        "slices_cut": 4,
        "overlap": 0.714,
        "same_study": True,
        "shift_mm": [0, 0, 15],
    }
    assert row["nect"] == {
        "phase": "nect",
        "evidence": "description",
        "image_looks": "nect",
        "shape": [32, 32, 12],
        "spacing_mm": [10.625, 10.625, 5],
    }
    assert (row["cect"]["phase"], row["cect"]["image_looks"]) == ("portal", "cect")
    assert row["refused"] == row["warnings"] == [] and outcome.messages == ()


def test_the_image_decides_where_headers_say_nothing(add_series: Add, tmp_path: Path) -> None:
    add_series("s/a", "Abdomen")
    add_series("s/b", "Abdomen", enhanced=True)
    row = prepare(tmp_path / "s").report
    assert [(row[half]["phase"], row[half]["evidence"]) for half in ("nect", "cect")] == [
        ("nect", "image"),
        ("cect", "image"),
    ]


def test_a_wrong_name_is_warned_of(add_series: Add, tmp_path: Path) -> None:
    add_series("s/a", "nativ", enhanced=True)
    add_series("s/b", "portal", enhanced=True)
    outcome = prepare(tmp_path / "s")
    assert outcome.report["warnings"] == ["the NECT looks like a CECT; check it in the contact sheet"]
    assert outcome.messages == ("pair_000: warning: the NECT looks like a CECT; check it in the contact sheet",)


def test_a_refused_series_makes_way_for_the_next(add_series: Add, tmp_path: Path) -> None:
    add_series("s/a", "nativ")
    bad = add_series("s/SECRET b", "portal", enhanced=True)
    (bad / "2-004.dcm").unlink()
    add_series("s/c", "late", enhanced=True)
    outcome = prepare(tmp_path / "s")
    assert outcome.report["cect"]["phase"] == "late"
    (refused,) = outcome.report["refused"]
    assert refused["phase"] == "portal" and refused["reason"].startswith("uneven slices")
    assert "SECRET" not in str(outcome.report)
    assert outcome.messages[0].startswith(f"pair_000: refused: {tmp_path}/s/SECRET b")


def left_out(outcome: Outcome) -> str:
    assert outcome.source is outcome.target is outcome.affine is None
    return str(outcome.report["reason"])


def test_why_a_patient_is_left_out(add_series: Add, tmp_path: Path) -> None:
    add_series("s/a", "nativ")
    assert left_out(prepare(tmp_path / "s")) == "no contrast-enhanced series"
    add_series("s/b", "portal", first_z=40)
    assert "covers 50% of a CECT's slices and 5 or more" in left_out(prepare(tmp_path / "s"))
    assert left_out(prepare(tmp_path / "s", min_overlap=0.3, min_slices=6)).startswith("no NECT covers 30%")
    assert prepare(tmp_path / "s", min_overlap=0.3, min_slices=4).report["slices"] == 4
    coronal = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    for index, file in enumerate(sorted((tmp_path / "s" / "b").iterdir())):
        turn(file, ImagePositionPatient=[-165, 5 * index, 100], **coronal)
    assert left_out(prepare(tmp_path / "s")) == "no pair of its series can be used: slices not axial"


def turn(file: Path, **elements: object) -> None:
    import pydicom

    dataset = pydicom.dcmread(file)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.save_as(file)


def test_a_series_without_a_body_is_refused(add_series: Add, tmp_path: Path) -> None:
    add_series("s/a", "nativ")
    air = np.full((32, 32, 12), -1000, np.int16) + body(32, 12, False) % 5
    write_series(tmp_path / "s" / "b", air, (10.6, 10.6, 5.0), PatientID="X1", SeriesDescription="portal")
    assert left_out(prepare(tmp_path / "s")).startswith("no pair of its series can be used: ")


def test_what_libraries_raise_leaves_the_patient_out(
    add_series: Add, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> None:
        raise MemoryError(f"{tmp_path}")

    add_series("s/a", "nativ")
    add_series("s/b", "portal")
    monkeypatch.setattr("data_prep.patient.resample", fail)
    assert left_out(prepare(tmp_path / "s")) == "could not be prepared (MemoryError)"
