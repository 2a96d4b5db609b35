from __future__ import annotations

import itertools
from typing import Any

import numpy as np
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
    raise_contrast,
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


def sampled(condition: ContrastCondition, item: dict[str, Any], count: int = 5000) -> list[tuple[torch.Tensor, float]]:
    random = np.random.default_rng(0)
    made = [condition.sample(item, random) for _ in range(count)]
    return [(one["condition"], float(one["rise"])) for one in made]


def test_shares_are_dropped() -> None:
    condition, item = ContrastCondition(dropped=0.1), {"phase": "portal", "level": 1.2}
    whole, made = condition(item), sampled(condition, item)
    kept = [(bool(one[:3].any()), bool(one[3])) for one, _ in made]
    shares = [kept.count(both) / len(kept) for both in itertools.product((False, True), repeat=2)]
    assert shares == pytest.approx([0.1, 0.1, 0.1, 0.7], abs=0.02)
    for part, rise in made:  # what is kept is as it was
        assert rise == 1
        for among in (slice(0, 3), slice(3, 5)):
            assert not part[among].any() or torch.equal(part[among], whole[among])
    assert all(torch.equal(one, whole) and rise == 1 for one, rise in sampled(ContrastCondition(), item, 50))


def test_levels_are_raised_with_their_targets() -> None:
    made = sampled(ContrastCondition(dropped=0.1, raised=0.5), {"phase": "portal", "level": 1.2})
    with_level = [(float(one[4]) / 2 + 1, rise) for one, rise in made if one[3]]
    assert all(rise == 1 for one, rise in made if not one[3])  # what is not told stays what it is
    assert all(level == pytest.approx(1.2 * rise, rel=1e-5) for level, rise in with_level)
    raised = [level for level, rise in with_level if rise > 1]
    assert len(raised) / len(with_level) == pytest.approx(0.5, abs=0.04)
    assert 1.2 < min(raised) < 1.22 and 1.98 < max(raised) <= LEVELS[1]
    assert all(rise == 1 for _, rise in sampled(ContrastCondition(raised=1.0), {"phase": "portal"}, 50))


def test_contrast_is_raised_as_before_the_window() -> None:
    source = torch.rand(3, 3, 4, 4) - 0.5
    rises = torch.rand(3, 3, 4, 4) * 2 - 0.2
    target = (source + rises).clamp(-1, 1)
    scale = torch.tensor([1.0, 1.3, 2.5])
    expected = (source + scale[:, None, None, None] * rises).clamp(-1, 1)
    made = raise_contrast(source, target, scale)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(made[0], target[0])
    assert raise_contrast(source.double(), target.double(), scale).dtype == torch.float64


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"dropped": -0.1}, "dropped: expected a share from 0 to 1/3 but got -0.1"),
        ({"dropped": 0.34}, "dropped: expected a share from 0 to 1/3 but got 0.34"),
        ({"dropped": float("nan")}, "dropped: expected a share from 0 to 1/3 but got nan"),
        ({"raised": 1.1}, "raised: expected a share from 0 to 1 but got 1.1"),
        ({"raised": -1}, "raised: expected a share from 0 to 1 but got -1"),
    ],
)
def test_shares_that_cannot_be(shares: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        ContrastCondition(**shares)


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
