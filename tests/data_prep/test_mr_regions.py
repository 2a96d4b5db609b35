from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.mri_regions import REGIONS, head_mask, label_regions

SPACING = np.array([2.0, 2.0, 2.0])
HEAD = (slice(6, 34), slice(6, 34), slice(2, 18))
BLOCK = (slice(17, 23), slice(17, 23), slice(7, 13))  # 12 mm along each edge: 1.728 cm³


def pair(rise: float = 600.0, block: tuple[slice, ...] = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """A box of 1000 in air; in the target a block of it is brighter."""
    source = np.zeros((40, 40, 20), dtype=np.float32)
    source[HEAD] = 1000
    target = source.copy()
    target[block] += rise
    return source, target


def test_the_head_is_the_largest_piece_with_what_it_encloses() -> None:
    source, target = pair()
    expected = source > 0
    source[18:22, 18:22, 8:12] = 0  # ventricles, dark on both
    target[18:22, 18:22, 8:12] = 0
    source[0:2, 0:2] = 900  # a fiducial marker beside the head
    target[HEAD[0], HEAD[1], 2:4] = 50  # of which one scan shows less
    source[~expected & (source == 0)] = 60  # noise
    np.testing.assert_array_equal(head_mask(source, target), expected)


def test_what_enhances_is_within_the_block_that_does() -> None:
    labels, cm3 = label_regions(*pair(), SPACING, True)
    inside = np.zeros(labels.shape, dtype=bool)
    inside[BLOCK] = True
    enhancing = labels == REGIONS["enhancing"]
    assert enhancing[19:21, 19:21, 9:11].all() and not enhancing[~inside].any()
    # at the block's faces the Gaussian gives half the rise, less the surroundings': below 300, within them above
    assert 4**3 * 0.008 <= cm3["enhancing"] <= 6**3 * 0.008
    head = 28 * 28 * 16
    assert (labels > 0).sum() == head and abs(sum(cm3.values()) - head * 0.008) < 0.02


@settings(max_examples=8, deadline=None)
@given(factor=st.floats(0.1, 1.9), bias=st.floats(-0.2, 0.2), bright=st.booleans())
def test_nothing_enhances_by_a_factor_a_bias_or_at_the_surface(factor: float, bias: float, bright: bool) -> None:
    """A wrong scale, another coil, and vessels around the brain are no rise in it."""
    source, target = pair(0)
    target *= factor * (1 + bias * np.linspace(-1, 1, 40, dtype=np.float32)[:, None, None])
    if bright:
        target[6:8, 6:34, 2:18] = 2000
    labels, cm3 = label_regions(source, target, SPACING, True)
    assert labels.max() == REGIONS["head"] and cm3["enhancing"] == 0


def test_neither_a_small_rise_nor_a_small_piece_counts_nor_a_pair_without_a_common_scale() -> None:
    small = (slice(19, 21), slice(19, 21), slice(9, 11))
    for scans, common in ((pair(250), True), (pair(900, small), True), (pair(), False)):
        assert label_regions(*scans, SPACING, common)[1]["enhancing"] == 0
