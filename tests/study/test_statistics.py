"""Statistics of grades against published worked examples and values computed by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monai_nce.study.statistics import (
    agreement,
    compare_methods,
    krippendorff_alpha,
    real_or_synthetic,
    signed_rank_test,
    summaries,
    weighted_kappa,
)

_ = math.nan
# Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section D: four observers, twelve units
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
    [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
]
# Darwin's maize, crossed less self-fertilised, eighths of an inch: the example of Wilcoxon's test in SciPy's documents
MAIZE = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def row(reader: int, case: str, method: str, quality: int, artefact: int = 1, **more: Any) -> dict[str, Any]:
    given = {"reader": reader, "case": case, "method": method, "quality": quality, "artefact": artefact}
    return {**given, "repeat": False, "looks_real": None, **more}


def test_alpha_of_krippendorff_s_example() -> None:
    assert krippendorff_alpha(OBSERVERS) == pytest.approx(0.815, abs=5e-4)


@pytest.mark.parametrize(
    ("one", "other", "published"),
    [
        # Maple's documents of QuadraticWeightedKappa, on a scale from 1 to 10
        ([9, 7, 8, 7, 6, 8, 3, 5, 10], [8, 8, 6, 6, 7, 6, 1, 4, 8], 0.758620689655172),
        ([9, 7, 8, 7, 6, 8, 3, 5, 10], [3, 5, 6, 6, 7, 6, 1, 4, 8], 0.438095238095238),
    ],
)
def test_kappa_of_published_examples(one: list[int], other: list[int], published: float) -> None:
    assert weighted_kappa(one, other, range(1, 11)) == pytest.approx(published)


def test_kappa_by_hand() -> None:
    # squared differences observed: (0 + 0 + 1 + 1) / 4; by chance, all sixteen pairs of [1, 2, 3, 4] with [1, 2, 4, 3]:
    # 2 * variance = 2.5. 1 - 0.5 / 2.5
    assert weighted_kappa([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)


def test_what_is_not_defined_is_none() -> None:
    assert weighted_kappa([3, 3], [3, 3]) is None
    for table in ([[3, 3], [3, 3]], [[1, _], [_, 2]], [[1, 2]], [[], []]):
        assert krippendorff_alpha(table) is None


def test_signed_rank_of_darwin_s_maize() -> None:
    assert signed_rank_test(MAIZE) == (24, pytest.approx(0.041259765625))


@settings(max_examples=30)
@given(st.lists(st.sampled_from([-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]), max_size=9))
def test_the_p_value_counts_all_signs(differences: list[float]) -> None:
    statistic, p = signed_rank_test(differences)
    kept = np.array([one for one in differences if one])
    ranks = stats.rankdata(np.abs(kept))
    sums = [sum(rank for rank, sign in zip(ranks, signs, strict=True) if sign) for signs in _signs(len(kept))]
    above = sum(ranks[kept > 0])
    tails = [np.mean([one <= above for one in sums]), np.mean([one >= above for one in sums])]
    assert p == pytest.approx(min(1, 2 * min(tails)))
    assert statistic == min(above, sum(ranks) - above)


def _signs(count: int) -> itertools.product[Any]:
    return itertools.product((False, True), repeat=count)


def test_many_cases_are_exact_too() -> None:
    rng = np.random.default_rng(0)
    differences = np.arange(1, 46) * np.where(rng.random(45) < 0.3, -1, 1)
    assert signed_rank_test(differences.tolist())[1] == pytest.approx(
        stats.wilcoxon(differences, method="exact").pvalue
    )


def test_grades_are_counted_without_repeats() -> None:
    rows = [row(1, "p1", "a", 1), row(1, "p2", "a", 4), row(2, "p1", "a", 4), row(1, "p1", "a", 5, repeat=True)]
    quality, none, artefact, _ = summaries(rows, ["a", "b"])
    assert (quality["grades"], quality["mean"], quality["median"]) == ([1, 0, 0, 2, 0], 3, 4)
    assert (none["count"], none["mean"]) == (0, None)
    assert (artefact["criterion"], artefact["grades"]) == ("artefact", [3, 0, 0, 0, 0])


def test_a_case_counts_once_whoever_graded_it() -> None:
    rows = [row(1, f"p{case}", "a", 1) for case in range(6)] + [row(1, f"p{case}", "b", 3) for case in range(6)]
    rows += [row(2, "p0", "a", 2), row(2, "p0", "b", 2), row(2, "p1", "a", 5)]  # reader 2 has not come farther
    rows += [row(1, "p0", "a", 5, repeat=True)]
    quality, artefact = compare_methods(rows, ["a", "b"])
    # p0: (-2 + 0) / 2; the others: -2. All of one sign: 2 / 2^6
    assert (quality["cases"], quality["difference"], quality["statistic"]) == (6, pytest.approx(-11 / 6), 0)
    assert quality["p"] == pytest.approx(2 / 64)
    assert (artefact["difference"], artefact["p"]) == (0, 1)
    # Holm: the smaller one of two is doubled
    assert (quality["p_holm"], artefact["p_holm"]) == (pytest.approx(4 / 64), 1)
    assert compare_methods(rows, ["a", "c"]) == []


def test_readers_agree_with_themselves_and_each_other() -> None:
    first, second = [1, 2, 3, 4], [1, 2, 4, 3]
    rows = [row(1, f"p{case}", "a", grade) for case, grade in enumerate(first)]
    rows += [row(2, f"p{case}", "a", grade) for case, grade in enumerate(second)]
    rows += [row(1, "p0", "a", 1, repeat=True), row(1, "p3", "a", 5, repeat=True)]
    found = {tuple(one["readers"]) + (("alpha" in one),): one for one in agreement(rows, [1, 2])[:4]}
    assert (found[1, 2, False]["kappa"], found[1, 2, False]["same"]) == (pytest.approx(0.8), 0.5)
    assert (found[1, 1, False]["count"], found[1, 1, False]["same"]) == (2, 0.5)
    assert (found[2, 2, False]["count"], found[2, 2, False]["kappa"]) == (0, None)
    assert found[1, 2, True]["alpha"] == pytest.approx(krippendorff_alpha([first, second]))
    assert found[1, 2, True]["count"] == 4


def test_who_takes_what_for_real() -> None:
    rows = [row(1, f"p{case}", "real", 1, looks_real=True) for case in range(3)]
    rows += [row(1, f"p{case}", "a", 1, looks_real=case == 0) for case in range(3)]
    rows += [row(1, "p0", "a", 1, looks_real=True, repeat=True)]
    real, made = real_or_synthetic(rows, [1, 2], ["real", "a"], "real")
    assert (real["called_real"], made["called_real"], made["count"]) == (3, 1, 3)
    # Fisher: of the tables with these margins, 3 + 1 of 6 called real: C(3,3) C(3,1) / C(6,4) = 1/5, twice
    assert real["p"] == made["p"] == pytest.approx(0.4)
    # Wilson's interval for 1 of 3, z = 1.96: centre (1 + 1.92) / (3 + 3.84)
    assert (made["low"] + made["high"]) / 2 == pytest.approx((1 + 3.8415 / 2) / (3 + 3.8415), abs=1e-4)
    assert real_or_synthetic([row(1, "p", "a", 1)], [1], ["a"], None) == []
