from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from monai_nce import virtual
from monai_nce.contrast import (
    LEVELS,
    PHASES,
    ContrastCondition,
    append_condition,
    asked_condition,
    check_contrast,
)
from monai_nce.errors import InputError
from monai_nce.virtual.physiology import LEVEL_RANGE


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({}, [0, 0, 0, 0, 0]),
        ({"phase": None, "level": None}, [0, 0, 0, 0, 0]),
        ({"phase": "arterial"}, [1, 0, 0, 0, 0]),
        ({"phase": "portal", "level": 1}, [0, 1, 0, 1, 0]),
        ({"phase": "delayed", "level": 1.5, "patient": "a"}, [0, 0, 1, 1, 1]),
        ({"level": 0.5}, [0, 0, 0, 1, -1]),
    ],
)
def test_phase_and_level_in_numbers(item: dict[str, Any], expected: list[float]) -> None:
    condition = ContrastCondition()(item)
    assert condition.tolist() == expected and condition.dtype == torch.float32
    assert condition.shape == (ContrastCondition.channels,)


def test_whatever_is_known_differs_from_whatever_is_not() -> None:
    items = [{"phase": p, "level": x} for p, x in itertools.product([None, *PHASES], [None, 0.3, 1.0, 2.0])]
    assert len({tuple(ContrastCondition()(item).tolist()) for item in items}) == len(items)


def test_shares_are_dropped() -> None:
    condition, item = ContrastCondition(dropped=0.1), {"phase": "portal", "level": 1.2}
    whole = condition(item)
    draws = [(i + 0.5) / 1000 for i in range(1000)]
    kept = [(bool(one[:3].any()), bool(one[3])) for one in (condition(item, draw) for draw in draws)]
    assert [kept.count(both) for both in itertools.product((False, True), repeat=2)] == [100, 100, 100, 700]
    assert torch.equal(condition(item), whole) and torch.equal(ContrastCondition()(item, 0.0), whole)
    for draw in draws:  # what is kept is as it was
        part = condition(item, draw)
        for among in (slice(0, 3), slice(3, 5)):
            assert not part[among].any() or torch.equal(part[among], whole[among])


@pytest.mark.parametrize("dropped", [-0.1, 0.34, float("nan")])
def test_shares_that_cannot_be(dropped: float) -> None:
    with pytest.raises(InputError, match=r"^dropped: expected a share from 0 to 1/3 but got "):
        ContrastCondition(dropped)


@pytest.mark.parametrize("phase", ["venous", "PORTAL", "", 1, ["portal"]])
def test_unknown_phases_are_refused(phase: Any) -> None:
    with pytest.raises(InputError, match="^phase: expected one of arterial, portal, delayed but got "):
        check_contrast(phase, 1.0)


@pytest.mark.parametrize("level", [0, 0.29, 2.01, -1, float("nan"), float("inf"), "1.0", True, [1.0]])
def test_levels_out_of_range_are_refused(level: Any) -> None:
    with pytest.raises(InputError, match=r"^level: expected a number from 0.3 to 2 \(1 is usual\) but got "):
        check_contrast("portal", level)
    with pytest.raises(InputError, match="^level: "):
        ContrastCondition()({"level": level})


def test_virtual_patients_have_these_phases_and_levels() -> None:
    assert virtual.PHASES == PHASES
    assert LEVELS[0] <= min(LEVEL_RANGE) <= max(LEVEL_RANGE) <= LEVELS[1]


def test_a_condition_goes_behind_the_channels() -> None:
    images = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    condition = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    for given in (condition, condition[:1]):
        made = append_condition(images, given)
        assert made.shape == (2, 5, 4, 5) and made.dtype == images.dtype and torch.equal(made[:, :3], images)
        expected = given.double().expand(2, -1)[:, :, None, None].expand(-1, -1, 4, 5)
        assert torch.equal(made[:, 3:], expected)


def test_what_is_asked_for() -> None:
    channels = ContrastCondition.channels
    asked = asked_condition("portal", 1.25, channels, "model.pt")
    assert asked is not None and torch.equal(asked, ContrastCondition()({"phase": "portal", "level": 1.25}))
    for phase, level in (("delayed", None), (None, 0.7)):
        asked = asked_condition(phase, level, channels, "model.pt")
        assert asked is not None and torch.equal(asked, ContrastCondition()({"phase": phase, "level": level}))
    assert asked_condition(None, None, channels, "model.pt") is None
    assert asked_condition(None, None, 0, "model.pt") is None


@pytest.mark.parametrize(("phase", "level"), [("portal", None), (None, 1.0), ("portal", 1.0)])
@pytest.mark.parametrize("channels", [0, ContrastCondition.channels + 1])
def test_weights_that_take_neither_are_refused(phase: str | None, level: float | None, channels: int) -> None:
    with pytest.raises(InputError, match=r"^model.pt: expected weights that take phase and level but .* --phase and"):
        asked_condition(phase, level, channels, "model.pt")


def test_a_fault_of_the_request_comes_first() -> None:
    with pytest.raises(InputError, match="^phase: "):
        asked_condition("venous", 1.0, 0, "model.pt")
