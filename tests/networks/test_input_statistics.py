from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_nce.networks import Generator
from monai_nce.networks.input_statistics import _body, input_statistics


@pytest.fixture
def network() -> Generator:
    torch.manual_seed(0)
    return Generator(channels=(8, 4), hidden_channels=4, num_groups=2)


def test_the_body_that_offsets_are_learnt_from():
    body = _body(64)
    assert body.shape == (1, 1, 256, 256) and _body(96).shape == (1, 1, 288, 288)
    assert body.unique().tolist() == pytest.approx([-1.0, -0.2])
    assert float((body > -0.9).float().mean()) == pytest.approx(torch.pi / 4 * 0.6 * 0.8, abs=1e-3)
    assert torch.equal(body, body.flip(2)) and torch.equal(body, body.flip(3))


def test_means_have_the_names_of_what_they_go_into(network):
    means = input_statistics(network)[0]
    assert sorted(means) == sorted(
        ["head"] + [f"blocks.{i}{part}" for i in range(2) for part in ("", ".conv_2", ".spade_1.norm", ".spade_2.norm")]
    )
    assert all(mean.isfinite().all() and (mean != 0).any() for mean in means.values())


def test_means_by_hand():
    """Of features that are the same everywhere, 1 to 4, through convolutions that double them or pass them on."""
    net = Generator(slices=1, channels=(4,), hidden_channels=1, num_groups=2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.stem.bias.copy_(torch.arange(1.0, 5.0))
        for convolution, factor in ((net.blocks[0].conv_1, 2.0), (net.blocks[0].conv_2, 1.0)):
            convolution.weight[:, :, 1, 1] = factor * torch.eye(4)
    means = input_statistics(net)[0]
    assert means["blocks.0"].tolist() == [1, 2, 3, 4]
    assert means["blocks.0.spade_1.norm"].tolist() == [3, 3, 7, 7], "the two groups of 2, 4, 6, 8"
    activated = torch.tensor([-0.2, 1.0, -0.2, 1.0])  # the norm gives -1 and 1 in each group
    expected = {
        "blocks.0.conv_2": activated,
        "blocks.0.spade_2.norm": torch.full((4,), 0.4),
        # the block's output, the shortcut added; of the image what is in the body, not the air around it
        "head": torch.cat([activated + torch.arange(1.0, 5.0), torch.tensor([-0.2])]),
    }
    torch.testing.assert_close({name: means[name] for name in expected}, expected, atol=0, rtol=2**-8)


def test_how_far_channels_reach_by_hand():
    net = Generator(slices=1, channels=(4,), hidden_channels=1, num_groups=2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.stem.weight[:, 0, 1, 1] = torch.tensor([1.0, -2.0, 0.0, 10.0])  # times the image, from -1 to -0.2
        net.stem.bias.fill_(3.0)
    means, reaches = input_statistics(net)
    assert sorted(reaches) == sorted(means)
    torch.testing.assert_close(reaches["blocks.0"], torch.tensor([0.8, 1.6, 0.0, 8.0]), atol=0, rtol=2**-8)
    assert reaches["blocks.0.conv_2"].tolist() == [0] * 4
    # the block passes its input on; behind it comes the image
    torch.testing.assert_close(reaches["head"], torch.tensor([0.8, 1.6, 0.0, 8.0, 0.8]), atol=0, rtol=2**-8)


def test_means_are_numbers_that_bf16_has_and_one_for_each_group(network):
    means, reaches = input_statistics(network)
    for value in (*means.values(), *reaches.values()):
        assert value.dtype == torch.float32 and torch.equal(value, value.bfloat16().float())
    norms = {name: module for name, module in network.named_modules() if isinstance(module, nn.GroupNorm)}
    assert len(norms) == 4
    for name, norm in norms.items():
        assert means[name].shape == (norm.num_channels,)
        groups = means[name].unflatten(0, (norm.num_groups, -1))
        assert torch.equal(groups, groups[:, :1].expand_as(groups)), name
        assert groups[0, 0] != groups[1, 0], name


@pytest.mark.parametrize("fails", [False, True])
def test_the_generator_is_left_as_it_is_also_when_it_fails(fails, network, monkeypatch):
    def out_of_memory(*arguments: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    before = {name: value.clone() for name, value in network.state_dict().items()}
    if fails:
        monkeypatch.setattr(network.blocks[1].conv_2, "forward", out_of_memory)
        with pytest.raises(RuntimeError, match="out of memory"):
            input_statistics(network)
    else:
        assert not any(value.requires_grad for values in input_statistics(network) for value in values.values())
    assert not any(module._forward_pre_hooks for module in network.modules())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
