from __future__ import annotations

import numpy as np
import pytest

from monai_nce.metrics import summarize


def test_by_hand() -> None:
    row = summarize({"a": [1.0, 2.0, 3.0, 6.0], "b": [10.0]})
    assert row["mean"] == pytest.approx(22 / 5)  # of slices
    assert row["patient_mean"] == pytest.approx((3 + 10) / 2)  # of patients
    assert row["per_patient"] == {"a": 3.0, "b": 10.0}
    # of two patients a quarter of all resamples is (a, a) and a quarter (b, b)
    assert (row["low"], row["high"]) == (3.0, 10.0)
    assert set(row) == {"mean", "patient_mean", "low", "high", "per_patient"}


def test_interval_is_deterministic_and_holds_the_mean() -> None:
    random = np.random.default_rng(5)
    values = {f"p{k}": (k + random.random(3 + k)).tolist() for k in range(12)}
    row = summarize(values)
    assert row == summarize(values)
    assert row["low"] < row["patient_mean"] < row["high"]
    assert summarize(values, seed=1)["low"] != row["low"]
    assert summarize(values, confidence=0.5)["low"] > row["low"]


def test_interval_is_the_percentile_bootstrap_over_patients() -> None:
    means = np.random.default_rng(2).normal(5, 2, size=20)
    # one long patient must not narrow the interval: patients are the units
    values = {f"p{k}": [mean] * (500 if k == 0 else 2) for k, mean in enumerate(means)}
    row = summarize(values)
    resamples = np.random.default_rng(99).choice(means, size=(20000, 20)).mean(axis=1)
    low, high = np.percentile(resamples, [2.5, 97.5])
    assert row["low"] == pytest.approx(low, abs=0.05)
    assert row["high"] == pytest.approx(high, abs=0.05)


def test_one_patient_has_no_interval() -> None:
    row = summarize({"a": [1.0, 3.0]})
    assert (row["mean"], row["patient_mean"], row["low"], row["high"]) == (2.0, 2.0, None, None)


def test_equal_patients_give_an_interval_of_no_width() -> None:
    row = summarize({"a": [2.0], "b": [2.0], "c": [2.0]})
    assert (row["low"], row["high"]) == (2.0, 2.0)


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [1.0], "b": []}])
def test_nothing_to_summarize_is_refused(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one patient, each with at least one slice"):
        summarize(values)
