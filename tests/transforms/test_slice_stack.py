from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monai_nce.transforms import StackMean, StackSpread, slice_stacks, stack_centres, stack_positions

VALUES = st.floats(-1e6, 1e6, width=32)
VOLUMES = hnp.arrays(np.float32, st.tuples(st.just(1), *[st.integers(1, 5)] * 3), elements=VALUES)


def merge_slice_stacks(stacks: torch.Tensor) -> torch.Tensor:
    """The volume of whose every slice there is a stack."""
    mean = StackMean(len(stacks))
    mean.add(stacks, range(len(stacks)))
    return mean.volume()


def volume_of(*slices: float) -> torch.Tensor:
    """One value per slice, 2 x 3 pixels."""
    return torch.tensor(slices).expand(1, 2, 3, len(slices)).clone()


@pytest.mark.parametrize(
    ("position", "depth", "slices", "expected"),
    [
        (0, 10, 3, [0, 0, 1]),
        (4, 10, 3, [3, 4, 5]),
        (9, 10, 3, [8, 9, 9]),
        (0, 1, 3, [0, 0, 0]),
        (0, 2, 3, [0, 0, 1]),
        (1, 2, 3, [0, 1, 1]),
        (1, 10, 5, [0, 0, 1, 2, 3]),
        (1, 2, 5, [0, 0, 1, 1, 1]),
        (3, 5, 1, [3]),
    ],
)
def test_positions(position, depth, slices, expected):
    assert stack_positions(position, depth, slices) == expected


@pytest.mark.parametrize("slices", [2, 4, 0, -1])
def test_an_even_number_of_slices(slices):
    with pytest.raises(ValueError, match=f"odd number of slices but got {slices}"):
        stack_positions(0, 5, slices)


@pytest.mark.parametrize("position", [-1, 5])
def test_a_position_beyond_the_volume(position):
    with pytest.raises(ValueError, match=rf"0\.\.\.4 but got {position}"):
        stack_positions(position, 5)


@pytest.mark.parametrize(
    ("slices", "stacks"),
    [
        ([7.0], [[7, 7, 7]]),
        ([1.0, 2.0], [[1, 1, 2], [1, 2, 2]]),
        ([1.0, 2.0, 4.0, 8.0], [[1, 1, 2], [1, 2, 4], [2, 4, 8], [4, 8, 8]]),
    ],
)
def test_stacks_by_hand(slices, stacks):
    got = slice_stacks(volume_of(*slices))
    assert got.shape == (len(slices), 3, 2, 3)
    assert (got == torch.tensor(stacks)[:, :, None, None]).all()


def test_rows_and_columns_keep_their_place():
    volume = torch.arange(24.0).reshape(1, 2, 3, 4)
    stacks = slice_stacks(volume)
    for z in range(4):
        assert torch.equal(stacks[z, 1], volume[0, :, :, z])


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 3, 4), (1, 1, 2, 3, 4)])
def test_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"\(1, H, W, D\) but got \(" + ", ".join(map(str, shape))):
        slice_stacks(torch.zeros(shape))


@settings(deadline=None)
@given(VOLUMES)
def test_merging_three_slices_gives_the_volume_back(array):
    volume = torch.from_numpy(array)
    torch.testing.assert_close(merge_slice_stacks(slice_stacks(volume)), volume, rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=50)
@given(VOLUMES, st.sampled_from([1, 5, 7]))
def test_merging_any_stacks_gives_the_volume_back(array, slices):
    volume = torch.from_numpy(array)
    torch.testing.assert_close(merge_slice_stacks(slice_stacks(volume, slices)), volume, rtol=1e-6, atol=0)


def test_overlaps_are_averaged():
    """Four slices, and every prediction of every stack another power of ten."""
    predictions = torch.tensor([[1.0, 10, 100], [2, 20, 200], [3, 30, 300], [4, 40, 400]])
    merged = merge_slice_stacks(predictions[:, :, None, None].expand(4, 3, 2, 3))
    expected = [
        (1 + 10 + 2) / 3,  # stack 0 holds slice 0 twice, its replica and itself
        (100 + 20 + 3) / 3,
        (200 + 30 + 4) / 3,
        (300 + 40 + 400) / 3,
    ]
    assert merged.shape == (1, 2, 3, 4)
    np.testing.assert_allclose(merged[0], np.broadcast_to(expected, (2, 3, 4)), rtol=1e-6)


@pytest.mark.parametrize(
    ("predictions", "expected"),
    [([[1.0, 10, 100]], [37]), ([[1.0, 10, 100], [2, 20, 200]], [(1 + 10 + 2) / 3, (100 + 20 + 200) / 3])],
)
def test_overlaps_of_one_and_two_slices(predictions, expected):
    merged = merge_slice_stacks(torch.tensor(predictions)[:, :, None, None])
    np.testing.assert_allclose(merged.flatten(), expected, rtol=1e-6)


def test_overlaps_of_five_slices():
    predictions = torch.rand(4, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    by_slice: list[list[np.ndarray]] = [[] for _ in range(4)]
    for p in range(4):
        for offset in range(-2, 3):
            by_slice[min(max(p + offset, 0), 3)].append(predictions[p, offset + 2].numpy())
    expected = np.stack([np.mean(found, axis=0) for found in by_slice], axis=-1)
    np.testing.assert_allclose(merge_slice_stacks(predictions)[0], expected, rtol=1e-5)


def test_gradient_is_shared_among_the_predictions():
    stacks = torch.zeros(3, 3, 1, 1, requires_grad=True)
    merge_slice_stacks(stacks)[0, 0, 0, 1].backward()
    # slice 1 is the last of stack 0, the middle of stack 1 and the first of stack 2
    third = pytest.approx(1 / 3)
    assert stacks.grad[:, :, 0, 0].tolist() == [[0, 0, third], [0, third, 0], [third, 0, 0]]


@pytest.mark.parametrize(
    ("depth", "slices", "stride", "expected"),
    [
        (4, 3, 1, [0, 1, 2, 3]),
        (9, 3, 3, [1, 4, 7]),
        (10, 3, 3, [1, 4, 7, 8]),
        (11, 3, 3, [1, 4, 7, 9]),
        (7, 3, 2, [1, 3, 5]),
        (3, 3, 3, [1]),
        (2, 3, 3, [1]),
        (1, 3, 3, [0]),
        (1, 3, 1, [0]),
        (6, 5, 5, [2, 3]),
        (3, 1, 1, [0, 1, 2]),
    ],
)
def test_centres(depth, slices, stride, expected):
    assert stack_centres(depth, slices, stride) == expected


@given(st.integers(1, 40), st.sampled_from([1, 3, 5, 7]), st.data())
def test_stacks_of_any_stride_cover_the_volume_and_give_it_back(depth, slices, data):
    stride = data.draw(st.integers(1, slices))
    centres = stack_centres(depth, slices, stride)
    assert {z for centre in centres for z in stack_positions(centre, depth, slices)} == set(range(depth))
    if stride == slices:
        assert len(centres) == -(-depth // slices), "more stacks than it takes"
    volume = volume_of(*range(depth))
    mean = StackMean(depth)
    for start in range(0, len(centres), 2):
        batch = centres[start : start + 2]
        mean.add(slice_stacks(volume, slices, batch).float(), batch)
    torch.testing.assert_close(mean.volume(), volume.float(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("stride", [0, 4])
def test_a_stride_that_leaves_slices_out(stride):
    with pytest.raises(ValueError, match=f"stride in 1...3 but got {stride}"):
        stack_centres(9, 3, stride)


def test_a_mean_of_nothing():
    with pytest.raises(ValueError, match="at least one stack"):
        StackMean(3).volume()


def test_the_spread_of_overlapping_predictions_by_hand():
    stacks = torch.zeros(3, 3, 2, 2)
    stacks[0, 2], stacks[1, 1], stacks[2, 0] = 1.0, 2.0, 6.0  # what three stacks say of the middle slice
    spread = StackSpread(3)
    spread.add(stacks[:2], [0, 1])
    spread.add(stacks[2:], [2])
    mean, deviation = spread.volume()
    assert mean[0, 0].tolist() == [0, 3, 0]
    assert deviation[0, 0, 1] == pytest.approx(np.std([1, 2, 6]))
