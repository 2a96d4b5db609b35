"""Tests of taking a margin off a mask."""

from __future__ import annotations

import numpy as np

from monai_nce.transforms.erode_in_plane import erode_in_plane


def test_a_margin_in_mm_goes_off_every_side_but_the_images() -> None:
    mask = np.zeros((10, 8, 2), bool)
    mask[:6, 2:7, 0] = True  # to the image's edge along x
    left = np.zeros_like(mask)
    # 2 mm along x is one voxel of 2 mm, along y two of 1 mm; as far as the margin is not deeper
    left[:5, 4:5, 0] = True
    np.testing.assert_array_equal(erode_in_plane(mask, 2.0, (2.0, 1.0, 5.0)), left)


def test_full_and_empty_slices_stay() -> None:
    mask = np.zeros((4, 4, 2), bool)
    mask[..., 0] = True
    np.testing.assert_array_equal(erode_in_plane(mask, 3.0, (1.0, 1.0)), mask)
