"""Tests of vessel trees."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_nce.virtual.vessels import grow_vessels

BALL = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(41) - 20.0] * 3, indexing="ij")), axis=0) < 18


def test_one_tree_within_the_organ() -> None:
    vessels = grow_vessels(BALL, np.array([20.0, 20.0, 3.0]), 30, (0.7, 3.0), np.random.default_rng(0))
    assert not (vessels & ~BALL).any()
    _, count = ndimage.label(vessels, np.ones((3, 3, 3)))
    assert count == 1
    assert vessels[20, 20, 3]
    assert 0.005 < vessels.sum() / BALL.sum() < 0.2


def test_widest_at_the_root() -> None:
    vessels = grow_vessels(BALL, np.array([20.0, 20.0, 4.0]), 60, (0.7, 5.0), np.random.default_rng(1))
    depth = ndimage.distance_transform_edt(vessels)
    assert depth[:, :, :8].max() >= 2
    assert depth[:, :, 30:].max() < 2


def test_an_organ_that_is_not_there_has_none() -> None:
    nothing = np.zeros((5, 5, 5), bool)
    assert not grow_vessels(nothing, np.zeros(3), 10, (1, 2), np.random.default_rng(0)).any()
