from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.metrics.tolerant_error import tolerant_mae

SPACING = (2.0, 3.0, 4.0)  # along H, W, D


def by_loops(pred: np.ndarray, target: np.ndarray, spacing: tuple[float, float, float], tolerance: float) -> np.ndarray:
    """The same of (D, H, W), pixel by pixel."""
    places = list(np.ndindex(pred.shape))
    sides = np.array([spacing[2], spacing[0], spacing[1]])
    found = np.zeros(len(pred))
    for one, other in ((pred, target), (target, pred)):
        for place in places:
            near = [p for p in places if np.linalg.norm((np.array(p) - place) * sides) <= tolerance]
            found[place[0]] += min(abs(one[place] - other[p]) for p in near)
    return found / (2 * pred[0].size)


def found(pred: np.ndarray, target: np.ndarray, tolerance: float = 5.0) -> np.ndarray:
    pair = (torch.from_numpy(volume)[:, None] for volume in (pred, target))
    return tolerant_mae(*pair, SPACING, tolerance).numpy()


@given(st.integers(0, 1000), st.sampled_from([0.0, 2.0, 3.5, 4.9, 6.0]))
@settings(max_examples=5, deadline=None)
def test_against_loops(seed: int, tolerance: float) -> None:
    pred, target = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 5, 4))
    expected = by_loops(pred, target, SPACING, tolerance)
    np.testing.assert_allclose(found(pred, target, tolerance), expected, rtol=1e-12)
    if not tolerance:
        np.testing.assert_allclose(expected, np.abs(pred - target).mean(axis=(1, 2)))


def test_a_shift_within_the_tolerance_costs_nothing_inside() -> None:
    target = np.random.default_rng(0).uniform(-1, 1, (4, 20, 20))
    target[:, :3] = target[:, -3:] = target[:, :, :3] = target[:, :, -3:] = -1
    pred = np.roll(target, (1, 1), (1, 2))  # √13 mm
    assert found(pred, target) == pytest.approx(0) and found(pred, target, 3.5).max() > 0.01
    pred = np.concatenate([target[1:], target[-1:]])  # 4 mm along the body
    assert found(pred, target, 4.0)[1:] == pytest.approx(0, abs=1e-12)


def test_blur_is_not_forgiven() -> None:
    """A mean value lies near every pixel of noise, so that one direction alone would find nothing."""
    target = np.random.default_rng(0).normal(0, 0.2, (1, 60, 60))
    blurred = np.zeros_like(target)
    assert found(blurred, target, 9.0) > 0.05
    nearest = [np.abs(target[0, y : y + 7, x : x + 5]).min() for y in range(53) for x in range(55)]
    assert np.mean(nearest) < 0.01
