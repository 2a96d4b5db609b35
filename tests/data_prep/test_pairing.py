from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.geometry import Grid
from data_prep.pairing import Place, hours_apart, is_axial, rank_pairs, shared_slices, shift_mm
from monai_nce.data.scans.found import FoundVolume


def volume(study: str = "1", when: str = "") -> FoundVolume:
    return FoundVolume("dicom", Path("a"), (Path("a"),), study_uid=study, acquisition_time=when)


def affine(z: float = 0.0, step: float = 5.0) -> np.ndarray:
    """40 × 40 pixels of 10 mm about the scanner's axis."""
    matrix = np.diag([-10.0, -10.0, step, 1.0])
    matrix[:3, 3] = 195, 195, z
    return matrix


def place(phase: str = "portal", z: float = 0.0, slices: int = 20, step: float = 5.0, **about: str) -> Place:
    return Place(volume(**about), phase, (40, 40, slices), affine(z, step))


@pytest.mark.parametrize(
    ("z", "step", "slices", "shared"),
    [
        (0, 5, 20, slice(0, 20)),
        (20, 5, 20, slice(4, 20)),
        (-22, 5, 20, slice(0, 16)),  # the last one lies at 73 mm, and reaches to 75.5
        (30, 2.5, 9, slice(6, 11)),  # 28.75 to 51.25 mm
        (500, 5, 20, slice(0, 0)),
    ],
)
def test_shared_slices(z: float, step: float, slices: int, shared: slice) -> None:
    grid = Grid((40, 40, 20), affine())
    turned = affine(z, step)[:, [2, 0, 1, 3]]  # another order of axes is the same place
    assert shared_slices(grid, (40, 40, slices), affine(z, step)) == shared
    assert shared_slices(grid, (slices, 40, 40), turned) == shared


def test_beside_the_body_nothing_is_shared() -> None:
    aside = affine()
    aside[0, 3] += 300
    assert shared_slices(Grid((40, 40, 20), affine()), (40, 40, 20), aside) == slice(0, 0)


def test_a_tilted_slice_is_shared_where_all_of_it_is_covered() -> None:
    tilted = affine()
    tilted[2, 1] = 2.0  # 2 mm up for each row of 10 mm; a quarter of the field is 10 rows, 20 mm
    shared = shared_slices(Grid((40, 40, 20), affine(39)), (40, 40, 30), tilted)
    # rows 9.5 to 29.5 of the NECT's slice 0 lie at 19 to 59 mm, of slice 29 at 164 to 204 mm
    assert shared == slice(4, 20)


def test_axial() -> None:
    nifti = FoundVolume("nifti", Path("a"), (Path("a"),))
    coronal = affine()[:, [0, 2, 1, 3]]
    assert is_axial(volume(), affine(step=20)) and is_axial(volume(), affine(step=5))
    assert not is_axial(volume(), coronal)
    assert is_axial(nifti, affine()) and is_axial(nifti, coronal)  # its axes may come in any order
    assert not is_axial(nifti, np.diag([1.0, 3.0, 1.0, 1.0]))
    assert is_axial(nifti, np.eye(4))


@pytest.mark.parametrize(
    ("one", "other", "hours"),
    [
        ("20200101120000", "20200101123000.25", 0.5),
        ("20200101", "20200103", 48),
        ("20200101120000", "", None),
        ("120000", "120500", None),  # a time without a date
        ("20201399", "20200101", None),
    ],
)
def test_hours_apart(one: str, other: str, hours: float | None) -> None:
    assert hours_apart(volume(when=one), volume(when=other)) == pytest.approx(hours, abs=1e-3)


def test_shift() -> None:
    assert shift_mm(place(z=0), place(z=12.5, slices=22)) == [0, 0, 17.5]


def best(sources: list[Place], targets: list[Place], wanted: str = "portal") -> tuple[int, int]:
    source, target = rank_pairs(sources, targets, wanted, 0.5, 5)[0]
    return (
        next(i for i, one in enumerate(sources) if one is source),
        next(i for i, one in enumerate(targets) if one is target),
    )


def test_the_same_study_comes_before_the_phase() -> None:
    targets = [place("portal", study="2"), place("arterial", study="1")]
    assert best([place("nect", study="1")], targets) == (0, 1)


@pytest.mark.parametrize(("wanted", "index"), [("portal", 1), ("arterial", 0), ("late", 2), ("any", 2)])
def test_the_phase_wanted(wanted: str, index: int) -> None:
    targets = [place("arterial", slices=24), place("portal", slices=24), place("late")]  # only the last is all covered
    assert best([place("nect")], targets, wanted) == (0, index)


def test_then_the_nearest_in_time_and_the_best_covered() -> None:
    sources = [place("nect", study="", when="20200101"), place("nect", study="", when="20200301")]
    assert best(sources, [place(study="", when="20200228")]) == (1, 0)
    assert best([place("nect", z=30), place("nect", z=5)], [place()]) == (1, 0)
    assert best([place("nect", slices=100, step=1.0), place("nect")], [place()]) == (1, 0)


def test_too_little_is_no_pair() -> None:
    source, target = place("nect", z=50), place()
    assert len(rank_pairs([source], [target], "any", 0.5, 10)) == 1
    assert rank_pairs([source], [target], "any", 0.51, 10) == []
    assert rank_pairs([source], [target], "any", 0.5, 11) == []
