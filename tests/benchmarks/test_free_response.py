"""Tests of free-response curves, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.free_response import FreeResponse, threshold_at

# two lesions of three are marked; two healthy patients with three false marks
BY_HAND = FreeResponse([5.0, 2.0, -np.inf], [[4.0, 1.0], [2.0]])
SCORES = st.floats(0, 10).map(lambda score: round(score, 1))


def test_the_curve_by_hand() -> None:
    false, found = BY_HAND.curve()
    # thresholds 5, 4, 2, 1
    assert false.tolist() == [0, 0, 0.5, 1, 1.5]
    assert found.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 2 / 3])


def test_what_is_found_beside_false_marks() -> None:
    assert BY_HAND.found_beside(0) == pytest.approx(1 / 3)
    assert BY_HAND.found_beside(0.9) == pytest.approx(1 / 3)
    assert BY_HAND.found_beside(1) == pytest.approx(2 / 3)
    assert BY_HAND.found_at(4.5) == pytest.approx(1 / 3)


def test_the_figure_of_merit_by_hand() -> None:
    # highest false marks 4 and 2: 5 beats both, 2 ties one and loses one, the third loses both
    assert BY_HAND.figure_of_merit() == pytest.approx((2 + 0.5 + 0) / 6)
    assert FreeResponse([-np.inf], [[]]).figure_of_merit() == 0.5


def test_the_threshold_by_hand() -> None:
    assert threshold_at([[4.0, 1.0], [2.0]], 1) == 2
    assert threshold_at([[4.0, 1.0], [2.0]], 0.5) == 4
    assert threshold_at([[4.0, 1.0], [2.0]], 0) == np.inf
    assert threshold_at([[]], 1) == np.inf


@settings(max_examples=40, deadline=None)
@given(
    lesions=st.lists(SCORES | st.just(-np.inf), min_size=1, max_size=8),
    marks=st.lists(st.lists(SCORES, max_size=6), min_size=1, max_size=5),
    false=st.floats(0, 4),
)
def test_curves_of_any_marks(lesions: list[float], marks: list[list[float]], false: float) -> None:
    free = FreeResponse(lesions, marks)
    x, y = free.curve()
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert x[0] == y[0] == 0
    assert x[-1] == pytest.approx(sum(map(len, marks)) / len(marks))
    assert y[-1] == pytest.approx(np.isfinite(lesions).mean())
    assert 0 <= free.figure_of_merit() <= 1
    limit = threshold_at(marks, false)
    assert sum(score >= limit for of in marks for score in of) <= false * len(marks) + 1e-9
    assert free.found_beside(false) == pytest.approx(y[x <= false + 1e-9].max())
    assert free.found_beside(false) >= free.found_at(limit) - 1e-9
