from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from monai_nce.networks.eight_bits import (
    EightBitConv2d,
    EightBitFeatures,
    EightBitPair,
    largest_at_edges,
    rounded_filters,
)


def pair_and_layers(hidden: int = 16, bias: bool = True, seed: int = 0):
    torch.manual_seed(seed)
    first, second = nn.Conv2d(3, hidden, 3, bias=bias), nn.Conv2d(hidden, 6, 3, bias=bias)
    return EightBitPair(first, second, 0.2), lambda x: second(functional.leaky_relu(first(x), 0.2))


def test_a_convolution_of_bytes_by_hand():
    weight = torch.zeros(2, 1, 3, 3, dtype=torch.int8)
    weight[0, 0, 1, 1], weight[1] = -127, 1
    x = torch.tensor([[1, 2, 3], [4, 255, 6], [7, 8, 9]], dtype=torch.uint8)[None, None]
    got = EightBitConv2d(weight, torch.tensor([2.0, 0.5]))(x)
    assert got.dtype == torch.float32
    assert got.flatten().tolist() == [-127 * 255 * 2.0, (40 + 255) * 0.5]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_it_computes_what_the_layers_do_as_well_as_8_bits_can(seed, bias):
    pair, layers = pair_and_layers(bias=bias, seed=seed)
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    with torch.no_grad():
        expected, got = layers(x), pair(x)
    assert got.dtype == torch.float32 and got.shape == expected.shape == (2, 6, 28, 36)
    wrong = got - expected
    # random errors of half a step of 256 at most, and no constant one, which truncated bytes would have
    assert 0 < wrong.abs().max() < 0.04 * expected.std()
    assert wrong.mean(dim=(0, 2, 3)).abs().max() < 0.002 * expected.std()


def test_a_linear_function_is_not_rounded_at_all():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)
    pair = EightBitPair(first, second, negative_slope=1.0)  # leaky_relu(u) = u
    x = torch.rand(1, 3, 12, 12) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(pair(x), second(first(x)), atol=1e-6, rtol=0)


def test_what_goes_beyond_the_range_is_cut_off_and_does_not_wrap():
    pair, layers = pair_and_layers()
    x = torch.randn(1, 3, 16, 16).sign()  # finer than any edge
    with torch.no_grad():
        expected = layers(x)
        assert (pair(x) - expected).abs().max() < 0.5 * expected.std()


def test_the_largest_of_an_edge_by_hand():
    weight = torch.zeros(4, 2, 3, 3)
    weight[0, 0] = 1.0  # flat white
    weight[1, 0] = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])  # an upright edge
    weight[2, 0] = torch.tensor([[0.0, 1, 0], [-1, 0, 1], [0, -1, 0]])  # a slanting one
    weight[3, 0], weight[3, 1] = weight[0, 0], -weight[1, 0]  # each slice its own
    assert largest_at_edges(weight).tolist() == [9.0, 8.0, 4.0, 17.0]


@given(st.integers(0, 10_000), st.floats(0.01, 126))
def test_filters_keep_their_sums(seed, largest):
    weight = (torch.rand(3, 4, 3, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * largest
    rounded = rounded_filters(weight)
    assert torch.equal(rounded, rounded.round()) and rounded.abs().max() <= 127
    assert (rounded - weight).abs().max() < 1.001
    assert (rounded - weight).sum(dim=(2, 3)).abs().max() <= 0.501


def test_filters_rounded_by_hand():
    weight = torch.tensor([0.4, 0.4, 0.4, 0.4, -2.0, 0, 0, 0, 0.3]).view(1, 1, 3, 3)
    # sums so far 0.4, 0.8, 1.2, 1.6, -0.4, ..., -0.1
    assert rounded_filters(weight).flatten().tolist() == [0, 1, 0, 1, -2, 0, 0, 0, 0]


def test_features_that_are_256_levels_are_convolved_exactly():
    torch.manual_seed(0)
    weight = torch.randint(-126, 127, (5, 4, 3, 3)).float()
    weight[:, :, 0, 0] = 126  # so that a unit of the weights is one
    bias, summand = torch.randn(5), torch.randn(2, 5, 6, 7)
    x = torch.randint(0, 256, (2, 4, 6, 7)).float()
    x[:, 0, 0, 0], x[:, 0, 0, 1] = 0, 255
    x[1] -= 100  # each image has its own zero, which it is padded with
    expected = functional.conv2d(x, weight, bias, padding=1)
    convolution = EightBitFeatures(weight, bias, reach=torch.full((4,), 126.0))
    # sums of whole numbers, of which each pixel's worst rounding would be off by 126
    torch.testing.assert_close(convolution(x), expected, atol=0.1, rtol=0)
    torch.testing.assert_close(convolution(x, summand), expected + summand, atol=0.1, rtol=0)
    assert convolution(x.bfloat16(), summand.bfloat16()).dtype == torch.float32
    without = EightBitFeatures(weight, None, torch.full((4,), 126.0))
    torch.testing.assert_close(without(x), expected - bias[:, None, None], atol=0.1, rtol=0)


@given(
    seed=st.integers(0, 10_000),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    offset=st.floats(-50, 50),
    scale=st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_features_are_off_by_half_a_level_at_most(seed, size, offset, scale):
    random = torch.Generator().manual_seed(seed)
    weight = torch.zeros(1, 2, 3, 3)
    weight[:, :, 1, 1] = 1.0  # the sum of both channels, in which no weight is rounded
    x = (torch.randn(2, 2, *size, generator=random) + offset) * scale
    got = EightBitFeatures(weight, None, torch.ones(2))(x)
    step = (x.clamp(min=0).amax(dim=(1, 2, 3)) - x.clamp(max=0).amin(dim=(1, 2, 3))) / 255
    assert ((got - x.sum(dim=1, keepdim=True)).abs() <= 2 * 0.501 * step[:, None, None, None] + 1e-30).all()


def test_zero_stays_zero_and_the_largest_value_does_not_wrap():
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1.0
    x = torch.zeros(1, 1, 5, 9)
    x[..., 2, 2], x[..., 2, 6] = -1.5, 253.5  # steps of one; zero lies at 1.5, which is rounded to 2
    got = EightBitFeatures(weight, None, torch.ones(1))(x)
    assert got[0, 0, 2, 6].item() == pytest.approx(253, abs=0.01), "the last level"
    assert got[0, 0, 2, 2].item() == pytest.approx(-1, abs=0.01), "1.5 levels below zero, rounded up"
    got[0, 0, 2, 2] = got[0, 0, 2, 6] = 0
    assert not got.any()


def test_even_features_see_the_sums_of_filters():
    torch.manual_seed(0)
    weight = torch.rand(64, 1, 3, 3)
    weight[:, 0, 0, 0] = 1.0
    got = EightBitFeatures(weight, None, torch.ones(1))(torch.ones(1, 1, 3, 3))[0, :, 1, 1]
    assert (got - weight.sum(dim=(1, 2, 3))).abs().max() <= 0.51 / 126


def test_filters_and_channels_without_weights_give_nothing():
    torch.manual_seed(0)
    weight, bias = torch.randn(3, 4, 3, 3), torch.randn(3)
    weight[1], weight[:, 2] = 0, 0
    x = torch.randn(1, 4, 8, 8)
    x[:, 2] *= 1000  # which takes no levels from the others
    expected, got = functional.conv2d(x, weight, bias, padding=1), EightBitFeatures(weight, bias, torch.ones(4))(x)
    torch.testing.assert_close(got[:, 1], bias[1].expand(1, 8, 8))
    assert (got - expected).std() < 0.02 * expected.std()


def test_a_channel_that_reaches_farther_than_was_seen_leaves_levels_to_others():
    torch.manual_seed(0)
    weight, x = torch.randn(8, 16, 3, 3), torch.randn(1, 16, 16, 16)
    reach = torch.ones(16)
    reach[3] = 0
    expected, got = functional.conv2d(x, weight, padding=1), EightBitFeatures(weight, None, reach)(x)
    assert (got - expected).std() < 0.03 * expected.std()


def test_weights_and_biases_are_copied():
    weight, bias = torch.randn(3, 4, 3, 3), torch.randn(3)
    convolution, x = EightBitFeatures(weight, bias, torch.ones(4)), torch.randn(1, 4, 8, 8)
    before = convolution(x)
    weight.zero_()
    bias.zero_()
    assert torch.equal(convolution(x), before)


def test_channels_that_reach_less_far_keep_their_digits():
    torch.manual_seed(0)
    reach = torch.logspace(-2, 2, 32)
    x = torch.randn(1, 32, 24, 24) * reach[:, None, None]
    weight = torch.randn(16, 32, 3, 3) / reach[:, None, None]  # each channel matters as much as any other
    expected = functional.conv2d(x, weight, padding=1)
    known, unknown = (
        (EightBitFeatures(weight, None, reach_)(x) - expected).std() / expected.std()
        for reach_ in (reach, torch.ones(32) * weight.abs().amax(dim=(0, 2, 3)))  # the latter leaves them as they are
    )
    assert known < 0.03 < 0.3 < unknown


def test_an_image_has_levels_of_its_own():
    torch.manual_seed(0)
    convolution = EightBitFeatures(torch.randn(3, 4, 3, 3), torch.randn(3), torch.ones(4))
    x = torch.randn(3, 4, 8, 8) * torch.tensor([1.0, 1000.0, 0.0])[:, None, None, None]
    for i in range(3):
        assert torch.equal(convolution(x)[i : i + 1], convolution(x[i : i + 1]))
    assert torch.equal(convolution(x)[2], convolution.bias[:, None, None].expand(3, 8, 8)), "of nothing"


def test_features_that_are_no_numbers_are_not_hidden():
    convolution = EightBitFeatures(torch.randn(3, 4, 3, 3), None, torch.ones(4))
    for wrong in (torch.nan, torch.inf):
        x = torch.zeros(2, 4, 8, 8)
        x[1, 2, 3, 4] = wrong
        assert convolution(x)[0].isfinite().all() and not convolution(x)[1].isfinite().any()
