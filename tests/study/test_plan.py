"""The orders in which readers grade."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.study.plan import Reading, plan_readings

CASES = [f"p{case}" for case in range(16) for _ in range(4)]


@settings(max_examples=25)
@given(
    cases=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30),
    reader=st.integers(1, 9),
    seed=st.integers(0, 2**40),
    repeats=st.floats(0, 0.5),
)
def test_each_image_comes_once_and_a_repeat_half_a_round_later(
    cases: list[str], reader: int, seed: int, repeats: float
) -> None:
    order = plan_readings(cases, reader, seed, repeats)
    first = {one.image: place for place, one in enumerate(order) if not one.repeat}
    again = {one.image: place for place, one in enumerate(order) if one.repeat}
    assert sorted(first) == list(range(len(cases)))
    assert len(order) == len(first) + len(again)
    assert len(again) == min(int(repeats * len(cases) + 0.5), len(cases) // 2)
    for image, place in again.items():
        assert sum(not one.repeat for one in order[first[image] + 1 : place]) >= len(cases) // 2


def test_the_seed_gives_the_order_and_each_reader_has_another() -> None:
    assert plan_readings(CASES, 1, 7, 0.2) == plan_readings(CASES, 1, 7, 0.2)
    assert plan_readings(CASES, 1, 7, 0.2) != plan_readings(CASES, 2, 7, 0.2) != plan_readings(CASES, 2, 8, 0.2)


def test_a_case_does_not_follow_itself() -> None:
    order = [CASES[one.image] for one in plan_readings(CASES, 1, 0, 0.2)]
    assert all(one != next_ for one, next_ in zip(order, order[1:], strict=False))


def test_one_image_alone() -> None:
    assert plan_readings(["p"], 1, 0, 0.5) == [Reading(0, False)]


@pytest.mark.parametrize("repeats", [-0.1, 0.51, float("nan")])
def test_a_share_that_cannot_be_is_refused(repeats: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 0.5"):
        plan_readings(CASES, 1, 0, repeats)
