from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from monai_nce.networks import SPADE, SPADEResidualBlock, largest_group_count


def convolve(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Same-size 2D convolution of ``(B, C, H, W)``, in NumPy and float64."""
    pad = weight.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    out = np.einsum("bchwij,ocij->bohw", windows, weight)
    return out if bias is None else out + bias[None, :, None, None]


def leaky(x: np.ndarray, slope: float = 0.2) -> np.ndarray:
    return np.where(x > 0, x, slope * x)


def group_norm(x: np.ndarray, groups: int) -> np.ndarray:
    grouped = x.reshape(x.shape[0], groups, -1)
    mean, var = grouped.mean(2, keepdims=True), grouped.var(2, keepdims=True)
    return ((grouped - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def spade_by_hand(spade: SPADE, x: np.ndarray, guide: np.ndarray, groups: int) -> np.ndarray:
    w = weights(spade)
    hidden = leaky(convolve(guide, w["hidden.0.weight"], w["hidden.0.bias"]))
    both = convolve(hidden, w["gamma_beta.weight"], w["gamma_beta.bias"])
    gamma, beta = both[:, : x.shape[1]], both[:, x.shape[1] :]
    return group_norm(x, groups) * (1 + gamma) + beta


@pytest.mark.parametrize(
    ("channels", "groups"),
    [(512, 32), (256, 32), (128, 32), (64, 32), (32, 32), (2048, 32), (35, 7), (67, 1), (131, 1), (259, 7), (515, 5)],
)
def test_group_counts_of_the_papers_channels(channels, groups):
    assert largest_group_count(channels) == groups


@given(st.integers(1, 3000), st.integers(1, 64))
def test_group_count_is_the_largest_divisor_within_the_limit(channels, limit):
    groups = largest_group_count(channels, limit)
    assert 1 <= groups <= limit
    assert channels % groups == 0
    assert not any(channels % more == 0 for more in range(groups + 1, limit + 1))


@pytest.mark.parametrize(("channels", "limit"), [(0, 32), (-4, 32), (8, 0), (8, -1)])
def test_group_count_refuses_counts_below_one(channels, limit):
    with pytest.raises(ValueError, match=rf"{channels} and {limit}"):
        largest_group_count(channels, limit)


@pytest.mark.parametrize(("channels", "groups"), [(8, 4), (6, 3), (5, 1)])
def test_spade_against_numpy(channels, groups):
    torch.manual_seed(0)
    spade = SPADE(channels, guide_channels=3, hidden_channels=5, num_groups=4)
    x, guide = 3 + 2 * torch.randn(2, channels, 6, 4), torch.randn(2, 3, 6, 4)
    expected = spade_by_hand(spade, x.double().numpy(), guide.double().numpy(), groups)
    np.testing.assert_allclose(spade(x, guide).detach(), expected, atol=1e-4)


def test_the_mean_of_gamma_and_beta_survives():
    spade = SPADE(4, hidden_channels=2, num_groups=2)
    nn.init.zeros_(spade.gamma_beta.weight)
    with torch.no_grad():
        spade.gamma_beta.bias.copy_(torch.tensor([3.0, 3.0, -0.5, -0.5, 10.0, 20.0, 30.0, 40.0]))
    torch.manual_seed(0)
    x = torch.randn(2, 4, 8, 8)
    y = spade(x, torch.randn(2, 3, 8, 8)).detach().numpy()
    # 1 + gamma scales the normalised groups, beta lifts each channel
    expected = group_norm(x.double().numpy(), 2) * np.array([4, 4, 0.5, 0.5])[:, None, None]
    np.testing.assert_allclose(y, expected + np.array([10, 20, 30, 40])[:, None, None], atol=1e-4)


def test_one_convolution_gives_gamma_and_beta():
    spade = SPADE(12, guide_channels=3, hidden_channels=7)
    convolutions = [m for m in spade.modules() if isinstance(m, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 7), (7, 24)]


def test_the_norm_inside_spade_has_no_weights_of_its_own():
    assert not list(SPADE(8).norm.parameters())


@pytest.mark.parametrize(("c_in", "c_out"), [(6, 6), (7, 4)])
def test_residual_block_against_numpy(c_in, c_out):
    torch.manual_seed(1)
    block = SPADEResidualBlock(c_in, c_out, guide_channels=3, hidden_channels=5, num_groups=2)
    x, guide = torch.randn(2, c_in, 5, 4), torch.randn(2, 3, 5, 4)
    a, g, w = x.double().numpy(), guide.double().numpy(), weights(block)
    y = leaky(spade_by_hand(block.spade_1, convolve(a, w["conv_1.weight"]), g, 2))
    y = leaky(spade_by_hand(block.spade_2, convolve(y, w["conv_2.weight"]), g, 2))
    y += a if c_in == c_out else convolve(a, w["shortcut.weight"], w["shortcut.bias"])
    np.testing.assert_allclose(block(x, guide).detach(), y, atol=1e-4)


@pytest.mark.parametrize(("c_in", "c_out", "learned"), [(512, 512, False), (515, 512, True), (4, 8, True)])
def test_the_shortcut_is_learned_only_where_channels_differ(c_in, c_out, learned):
    with torch.device("meta"):
        block = SPADEResidualBlock(c_in, c_out)
    assert bool(list(block.shortcut.parameters())) == learned


def test_the_slope_of_the_leaky_relus_is_the_one_given():
    block = SPADEResidualBlock(4, 4, hidden_channels=2, negative_slope=0.3)
    slopes = [m.negative_slope for m in block.modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == [0.3] * len(slopes) and len(slopes) == 3


def test_the_inputs_are_left_as_they_were():
    """The activations work in place, which must stay inside."""
    block = SPADEResidualBlock(4, 4, hidden_channels=2)
    x, guide = torch.randn(1, 4, 4, 4), torch.randn(1, 3, 4, 4)
    before = x.clone(), guide.clone()
    block(x, guide)
    assert torch.equal(x, before[0]) and torch.equal(guide, before[1])


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(2)
    block = SPADEResidualBlock(3, 2, guide_channels=1, hidden_channels=2, num_groups=1).double()
    x = torch.randn(1, 3, 3, 3, dtype=torch.double, requires_grad=True)
    guide = torch.randn(1, 1, 3, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(block, (x, guide))
