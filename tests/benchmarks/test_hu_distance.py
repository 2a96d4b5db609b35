from __future__ import annotations

import numpy as np
import pytest

from benchmarks.hu_distance import distance, hu_distances


def test_a_shift_is_its_own_distance():
    one = np.random.default_rng(0).normal(100, 10, 5000)
    assert distance([one], [one]) == pytest.approx(0)
    assert distance([one + 7], [one]) == pytest.approx(7)


def test_each_scan_has_the_same_weight():
    """The distance to a mixture is the mean of the distances where both lie on one side."""
    small, large = np.full(10, 20.0), np.full(1000, 40.0)
    assert distance([np.zeros(5)], [small, large]) == pytest.approx(30)


def test_rows_by_organ_with_the_patients_own_distance():
    real = {"liver": [np.full(9, 100.0), np.full(5, 110.0)], "spleen": [np.full(3, 120.0)], "aorta": []}
    made = {
        "identity": {"liver": [np.full(4, 55.0)]},
        "synthetic": {"liver": [np.full(4, 107.0)], "spleen": [np.ones(2)]},
    }
    rows = hu_distances(made, real)
    assert rows["liver"] == {"identity": pytest.approx(50), "synthetic": pytest.approx(5), "real": pytest.approx(10)}
    assert rows["spleen"] == {"synthetic": pytest.approx(119), "real": None}
    assert "aorta" not in rows
