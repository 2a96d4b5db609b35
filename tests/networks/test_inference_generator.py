from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from monai_nce.networks import Generator
from monai_nce.networks.inference_generator import ActivatedConv2d, UpsampledHead


def trained(**settings) -> Generator:
    """A generator whose weights all have something to say, in eval mode."""
    net = Generator(**settings).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return net


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    "channels",
    [
        (8, 6, 4),
        (8,),
        (5, 8, 11),  # from the second block on as many channels go in, with the image's, as come out: no shortcut
        (16, 16),
    ],
)
def test_computes_what_the_generator_computes(channels, residual):
    torch.manual_seed(0)
    net = trained(channels=channels, hidden_channels=6, num_groups=4, residual=residual)
    factor = net.size_factor
    for height, width in ((factor, factor), (2 * factor, 3 * factor), (8 * factor, 4 * factor)):
        x = torch.rand(2, 3, height, width) * 2 - 1
        with torch.no_grad():
            torch.testing.assert_close(net.for_inference(x[:1])(x), net(x), atol=2e-5, rtol=0)


@given(
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.integers(1, 3),
    image_channels=st.integers(1, 3),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_the_head_on_the_coarse_grid_is_the_head_on_the_fine_one(height, width, channels, image_channels, bias, seed):
    random = torch.Generator().manual_seed(seed)
    head = nn.Conv2d(channels + image_channels, 2, 3, padding=1, bias=bias).double()
    features = torch.rand(2, channels, height, width, generator=random, dtype=torch.float64)
    image = torch.rand(2, image_channels, 2 * height, 2 * width, generator=random, dtype=torch.float64)
    upsampled = functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = torch.tanh(head(torch.cat([upsampled, image], dim=1)))
        torch.testing.assert_close(UpsampledHead(head, channels)(features, image), expected, atol=1e-12, rtol=0)


def test_an_activated_convolution_by_hand():
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 2.0
    convolution = ActivatedConv2d(weight, torch.tensor([1.0]), torch.float32, negative_slope=0.1)
    with torch.no_grad():
        got = convolution(torch.tensor([[[[1.0, -3.0]]]]))
    torch.testing.assert_close(got, torch.tensor([[[[3.0, -0.5]]]]))


def test_the_generator_is_left_as_it_is():
    net = trained(channels=(8, 4), hidden_channels=4).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ready = net.for_inference(torch.rand(1, 3, 16, 16), torch.bfloat16)
    for parameter in ready.parameters():
        parameter.data.zero_()
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_what_is_in_bf16_and_what_is_not():
    ready = trained(channels=(8, 4), hidden_channels=4).for_inference(torch.rand(1, 3, 16, 16), torch.bfloat16)
    short = {name for name, p in ready.named_parameters() if p.dtype == torch.bfloat16}
    assert {name for name, _ in ready.named_parameters()} - short == {
        f"head.{name}" for name in ("head.weight", "head.bias", "features.weight", "features.bias", "image.weight")
    }
    assert not any(p.requires_grad for p in ready.parameters())
    with torch.no_grad():
        assert ready(torch.rand(1, 3, 16, 16)).dtype == torch.float32


def test_in_bf16_what_is_kept_of_the_input_is_not_rounded():
    net = Generator(channels=(8, 4), hidden_channels=4, residual=True)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        # untrained, a residual network is the identity: any rounding would show
        assert torch.equal(net.for_inference(x, torch.bfloat16)(x), x)


def test_what_goes_into_the_norms_lies_around_zero():
    torch.manual_seed(0)
    net = trained(channels=(16, 8), hidden_channels=8, num_groups=4)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    ready = net.for_inference(x)
    means = []
    for module in ready.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_pre_hook(
                lambda norm, inputs: means.append(inputs[0].unflatten(1, (norm.num_groups, -1)).mean(dim=(2, 3, 4)))
            )
    ready(x)
    assert len(means) == 4
    assert all(mean.abs().max() < 1e-4 for mean in means)


def test_gradients_are_not_for_this_network():
    ready = Generator(channels=(8,), hidden_channels=4).for_inference(torch.rand(1, 3, 8, 8))
    assert not ready(torch.rand(1, 3, 8, 8)).requires_grad
