from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.metrics.z_flicker import z_flicker


def found(pred: np.ndarray, target: np.ndarray, spacing: tuple[float, float, float] = (10, 10, 3)) -> list[float]:
    return z_flicker(torch.from_numpy(pred)[:, None], torch.from_numpy(target)[:, None], spacing).tolist()


@given(st.integers(0, 1000), st.integers(3, 6))
@settings(max_examples=8, deadline=None)
def test_against_numpy(seed: int, slices: int) -> None:
    pair = np.random.default_rng(seed).uniform(-1, 1, (2, slices, 6, 8))
    steps = []
    for volume in pair:
        means = volume.reshape(slices, 3, 2, 4, 2).mean(axis=(2, 4))  # squares of 20 mm are 2 × 2 pixels
        steps.append(np.abs(np.diff(means, 2, axis=0)).mean(axis=(1, 2)) / 2)
    expected = steps[0] / steps[1]
    assert found(*pair) == pytest.approx([expected[0], *expected, expected[-1]], rel=1e-4)


def test_stacks_that_differ_in_brightness_are_seen_and_a_ramp_is_not() -> None:
    real = np.linspace(-1, 1, 9)[:, None, None] + 0.3 * np.sin(np.arange(9))[:, None, None] + np.zeros((9, 4, 4))
    stepped = real + 0.2 * (np.arange(9) // 3 % 2)[:, None, None]
    assert np.mean(found(stepped, real)) > 1.05 and found(real + 0.3, real) == pytest.approx([1] * 9)
    assert found(0 * real, np.linspace(-1, 1, 9)[:, None, None] + 0 * real) == pytest.approx([1] * 9)
    with pytest.raises(InputError, match="at least three slices but got 2"):
        found(real[:2], real[:2])
