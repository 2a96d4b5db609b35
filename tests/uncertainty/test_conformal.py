from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.uncertainty import conformal_quantile, coverage_factor, fewest_patients


def test_the_quantile_is_the_ceil_of_n_plus_one_times_the_coverage():
    scores = [7.0, 1, 2, 9, 4, 5, 6, 3, 8]
    assert conformal_quantile(scores, 0.9) == 9  # (9 + 1) 0.9 = 9th of 9
    assert conformal_quantile(scores, 0.5) == 5
    assert conformal_quantile(scores, 0.55) == 6  # 5.5, up
    assert conformal_quantile(scores[:8], 0.9) == math.inf  # 8.1, up, of 8


def test_the_factor_by_hand():
    # of 19 patients, 1 - coverage 0.1: mean loss of at most (20 · 0.1 - 1) / 19 = 1 / 19, one patient's whole loss
    ratios = [[0.5, 1.0, 1.0, 2.0]] * 18 + [[3.0, 4.0, 5.0, 6.0]]
    assert coverage_factor(ratios, 0.9) == 2
    # by halves: mean losses of at most (3 · 0.5 - 1) / 2 = 1 / 4, half the voxels of one patient
    assert coverage_factor([[1.0, 2.0], [3.0, 4.0]], 0.5) == 3


def test_a_patient_counts_as_one_however_many_its_voxels():
    few, many = [[1.0] * 2] * 9 + [[9.0] * 2], [[1.0] * 2] * 9 + [[9.0] * 500]
    assert coverage_factor(few, 0.8) == coverage_factor(many, 0.8) == 1


def test_voxels_may_weigh_differently():
    ratios = [[1.0, 2.0, 3.0]] * 9
    assert coverage_factor(ratios, 0.5) == 2  # losses of at most 4 / 9
    assert coverage_factor(ratios, 0.5, [[1.0, 1.0, 8.0]] * 9) == 3


@pytest.mark.parametrize(("coverage", "fewest"), [(0.9, 9), (0.5, 1), (0.8, 4), (0.95, 19)])
def test_too_few_patients_promise_nothing(coverage, fewest):
    assert fewest_patients(coverage) == fewest
    assert coverage_factor([[1.0, 2.0]] * fewest, coverage) == 2
    assert conformal_quantile([1.0] * fewest, coverage) == 1
    if fewest > 1:
        assert coverage_factor([[1.0, 2.0]] * (fewest - 1), coverage) == math.inf
        assert conformal_quantile([1.0] * (fewest - 1), coverage) == math.inf


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000), patients=st.integers(9, 30), spread=st.floats(0, 2), voxels=st.integers(1, 40))
def test_new_patients_are_covered_in_expectation(seed, patients, spread, voxels):
    """The mean over many draws of calibration and new patients, whatever patients differ by."""
    rng = np.random.default_rng(seed)
    shares, kept = [], []
    for _ in range(60):
        level = np.exp(spread * rng.standard_normal((patients + 1, 1)))
        errors = level * np.abs(rng.standard_normal((patients + 1, voxels)))
        shares.append((errors[0] <= coverage_factor(list(errors[1:]), 0.9)).mean())
        kept.append(errors[0].mean() <= conformal_quantile(errors[1:].mean(axis=1), 0.9))
    tolerance = 3.5 * np.std(shares) / np.sqrt(len(shares)) + 1e-9
    assert np.mean(shares) >= 0.9 - tolerance
    assert np.mean(kept) >= 0.9 - 3.5 * np.sqrt(0.09 / len(kept))


@settings(deadline=None, max_examples=20)
@given(
    ratios=st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=2, max_size=12),
    percent=st.integers(20, 95),
)
def test_the_factor_is_the_smallest_that_keeps_the_bound(ratios, percent):
    coverage = percent / 100
    count = len(ratios)

    def bound(factor: float) -> float:
        losses = [np.mean(np.array(one) > factor) for one in ratios]
        return (float(np.sum(losses)) + 1) / (count + 1)

    factor = coverage_factor(ratios, coverage)
    if factor == math.inf:
        assert 1 / (count + 1) > 1 - coverage
        return
    assert bound(factor) <= 1 - coverage + 1e-6
    smaller = [value for one in ratios for value in one if value < factor]
    assert not smaller or bound(max(smaller)) > 1 - coverage - 1e-6


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match="coverage: expected a share between 0 and 1 but got 1.5"):
        conformal_quantile([1.0], 1.5)
    for ratios in ([], [[1.0], []]):
        with pytest.raises(InputError, match="expected voxels of at least one patient but got none"):
            coverage_factor(ratios)
