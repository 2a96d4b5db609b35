from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from monai_nce.metrics.follow import ALL, Followed, follow

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.normal(100, 30, (40, 2))
MADE = 0.3 * TRUTH + RANDOM.normal(20, 5, (40, 2))
ONE = np.full(40, "portal")


def test_slope_is_that_of_linear_regression() -> None:
    found = follow(("liver", "aorta"), TRUTH, MADE, ONE)
    for row, name in enumerate(("liver", "aorta")):
        x, y = TRUTH[:, row], MADE[:, row]
        assert found[name]["slope"] == pytest.approx(stats.linregress(x, y).slope)
        assert found[name]["variance_ratio"] == pytest.approx(y.var() / x.var())
        assert found[name]["error"] == pytest.approx(np.abs(y - x).mean())


def test_all_organs_weigh_by_their_sums_of_squares() -> None:
    found = follow(("liver", "aorta"), TRUTH, MADE, ONE)
    weights = TRUTH.var(axis=0)
    expected = np.average([found["liver"]["slope"], found["aorta"]["slope"]], weights=weights)
    assert found[ALL]["slope"] == pytest.approx(expected)
    assert found[ALL]["error"] == pytest.approx(np.abs(MADE - TRUTH).mean())


def test_perfection_and_a_constant() -> None:
    same, constant = (follow(("a", "b"), TRUTH, made, ONE)[ALL] for made in (TRUTH, np.full_like(TRUTH, 90.0)))
    assert (same["slope"], same["variance_ratio"], same["error"]) == (1, 1, 0)
    assert (constant["slope"], constant["variance_ratio"]) == (0, 0)


def test_differences_between_groups_do_not_count() -> None:
    groups = np.array(["arterial", "portal"] * 20)
    shift = np.where(groups == "portal", 500.0, 0.0)[:, None]
    there = follow(("a", "b"), TRUTH + shift, MADE + shift, groups)
    assert there[ALL]["slope"] == pytest.approx(follow(("a", "b"), TRUTH, MADE, groups)[ALL]["slope"])
    known_phase = follow(("a", "b"), TRUTH + shift, 0 * TRUTH + shift, groups)[ALL]
    assert known_phase["slope"] == pytest.approx(0, abs=1e-12)


def test_missing_organs_are_left_out() -> None:
    truth = TRUTH.copy()
    truth[::2, 1] = np.nan
    part = follow(("a", "b"), truth, MADE, ONE)
    assert part["a"] == pytest.approx(follow(("a", "b"), TRUTH, MADE, ONE)["a"])
    assert part["b"] == pytest.approx(follow(("b",), TRUTH[1::2, 1:], MADE[1::2, 1:], ONE[1::2])["b"])
    truth[:, 1] = np.nan
    assert set(follow(("a", "b"), truth, MADE, ONE)) == {"a", ALL}


def test_without_variation_there_is_no_slope() -> None:
    alone = follow(("a", "b"), TRUTH[:1], MADE[:1], ONE[:1])
    assert alone[ALL]["slope"] is alone["a"]["variance_ratio"] is None and alone["a"]["error"] > 0
    values = Followed(("a", "b"))
    for number in (0, 1):
        values.add(TRUTH[number], MADE[number], str(number), str(number))
    assert "slope_interval" not in values.summary()[ALL]


def test_intervals_are_over_patients() -> None:
    values = Followed(("a", "b"))
    for number, (truth, made) in enumerate(zip(TRUTH, MADE, strict=True)):
        values.add(truth, made, "portal", f"p{number // 2}")
    found = values.summary()
    assert found[ALL]["slope"] == pytest.approx(follow(("a", "b"), TRUTH, MADE, ONE)[ALL]["slope"])
    for name in ("slope", "variance_ratio"):
        low, high = found[ALL][f"{name}_interval"]
        assert low < found[ALL][name] < high
    assert found == values.summary()
    single = Followed(("a", "b"))
    for truth, made in zip(TRUTH, MADE, strict=True):
        single.add(truth, made, "portal", "p")
    assert "slope_interval" not in single.summary()[ALL]
