"""Tests of the smooth random fields."""

from __future__ import annotations

import numpy as np
import pytest

from monai_nce.virtual.noise import smooth_noise


@pytest.mark.parametrize("wavelength", [2.0, 20.0, 60.0])
def test_zero_mean_and_unit_variance(wavelength: float) -> None:
    field = smooth_noise((120, 120, 60), 1.5, wavelength, np.random.default_rng(0))
    assert field.shape == (120, 120, 60)
    assert field.dtype == np.float32
    assert abs(field.mean()) < 0.4
    assert 0.5 < field.std() < 1.3


def test_longer_waves_are_smoother() -> None:
    steps = [
        np.abs(np.diff(smooth_noise((80, 80, 80), 1.0, wavelength, np.random.default_rng(1)), axis=0)).mean()
        for wavelength in (6, 20, 60)
    ]
    assert steps[0] > 2 * steps[1] > 4 * steps[2]


def test_seeded() -> None:
    one, same, other = (smooth_noise((20, 20, 20), 1.0, 10.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)
