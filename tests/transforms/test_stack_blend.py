from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_nce.transforms import StackBlend, blend_weights, slice_stacks, stack_centres


def blend(volume: torch.Tensor, predictions: torch.Tensor, centres: list[int]) -> torch.Tensor:
    blended = StackBlend(volume, predictions.shape[1], centres)
    for start in range(0, len(centres), 2):
        blended.add(predictions[start : start + 2], centres[start : start + 2])
    return blended.volume()


def test_weights_of_a_middle_and_an_edge_slice():
    weights = 9 * blend_weights(9, [1, 4, 7])
    # slice 3 is predicted as first of a stack; as middle in 1 and 4, as last in 2 and 5
    np.testing.assert_allclose(weights[:, :, 3], [[0, 1, 2], [3, 2, 1], [0, 0, 0]], atol=1e-12)
    # of slice 0 there is one as first; as middle and last the nearest are those of the same stack
    np.testing.assert_allclose(weights[:, :, 0], [[3, 3, 3], [0, 0, 0], [0, 0, 0]], atol=1e-12)


@given(st.integers(1, 40), st.sampled_from([1, 3, 5, 7]), st.data())
def test_all_positions_count_the_same(depth, slices, data):
    centres = stack_centres(depth, slices, data.draw(st.integers(1, slices)))
    weights = blend_weights(depth, centres, slices)
    assert weights.shape == (len(centres), slices, depth) and weights.min() >= 0
    np.testing.assert_allclose(weights.sum(0), np.full((slices, depth), 1 / slices), atol=1e-12)


def test_what_positions_add_is_averaged_and_detail_stays():
    """The network adds 0, 3 and 6: 3 for each slice, whatever the slice."""
    values = torch.tensor([5.0, -2, 7, 0, 0, 9, 1, 4, 3, 8])
    volume, centres = values.expand(1, 2, 3, 10), stack_centres(10, stride=3)
    predictions = slice_stacks(volume, 3, centres) + torch.tensor([0.0, 3, 6])[:, None, None]
    torch.testing.assert_close(blend(volume, predictions, centres)[0, 0, 0], values + 3)


def test_a_change_that_grows_evenly_is_kept():
    """Linear interpolation: slice z is changed by z, and so it comes out between the outermost predictions."""
    volume, centres = torch.zeros(1, 1, 1, 12), [1, 4, 7, 10]
    predictions = torch.arange(12.0).reshape(4, 3, 1, 1)
    torch.testing.assert_close(blend(volume, predictions, centres)[0, 0, 0, 2:-2], torch.arange(2.0, 10))


def test_nothing_exceeds_what_was_predicted():
    """Bone at the window's upper end is not brightened by a vessel in the next slice."""
    volume = torch.tensor([0.0, 0, 0, 1, 0, 0]).reshape(1, 1, 1, 6)
    predictions = torch.tensor([0.5, 0.5, 0.5, 1, 0.5, 0.5]).reshape(2, 3, 1, 1)
    made = blend(volume, predictions, [1, 4])[0, 0, 0]
    assert made.max() == 1 and made[3] == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_volume_is_left_as_it_was(dtype):
    volume = torch.zeros(1, 2, 2, 4, dtype=dtype)
    made = blend(volume, torch.ones(2, 3, 2, 2), [1, 2])
    assert made.dtype == torch.promote_types(dtype, torch.float32) and (made == 1).all() and not volume.any()
