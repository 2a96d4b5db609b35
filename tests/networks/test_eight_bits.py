from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from monai_nce.networks.eight_bits import EightBitConv2d, EightBitPair, largest_at_edges, rounded_filters


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
