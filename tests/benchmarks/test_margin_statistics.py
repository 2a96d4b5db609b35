from __future__ import annotations

import numpy as np
import pytest

from benchmarks.margin_statistics import LEFT_OUT, Judged, judge_coverage, judge_order, sparsification


def patient(errors: np.ndarray, widths: np.ndarray) -> Judged:
    labels = np.repeat(np.array([6, 7], np.uint8), len(errors) // 2)
    return Judged(errors.astype(np.float32), labels, widths.astype(np.float32))


def test_coverage_by_hand():
    whole = patient(np.full(200, 5.0), np.full(200, 6.0))
    half = patient(np.repeat([5.0, -9.0], 100), np.full(200, 6.0))
    found = judge_coverage([whole, half])
    assert found == {"patients": 2, "coverage": 0.75, "width": 6.0, "kept": 0.5}
    assert judge_coverage([whole, half], 7)["coverage"] == 0.5
    assert judge_coverage([whole, half], factor=1.5)["coverage"] == 1
    assert judge_coverage([whole], 25)["coverage"] is None  # nobody has it


def test_margins_in_the_order_of_the_errors_are_the_oracle():
    errors = np.linspace(0, 100, 400)
    right, wrong, flat = (patient(errors, widths) for widths in (errors + 1, 101 - errors, np.ones(400)))
    assert judge_order([right]) == {"correlation": pytest.approx(1), "auc": 1.0}
    assert judge_order([wrong]) == {"correlation": pytest.approx(-1), "auc": 0.0}
    assert judge_order([patient(errors, np.where(errors > 50, 2.0, 1.0))])["auc"] > 0.8
    curve = sparsification([right])
    assert curve["margins"] == curve["oracle"] and len(curve["oracle"]) == len(LEFT_OUT)
    assert curve["constant"] == pytest.approx([50] * len(LEFT_OUT), rel=1e-5)
    assert curve["margins"][5] == pytest.approx(25, rel=0.01)
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning):
        assert judge_order([flat])["auc"] == 0.5
