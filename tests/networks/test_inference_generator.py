from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from monai_nce.networks import Generator, inference_generator
from monai_nce.networks.eight_bits import EightBitFeatures, largest_at_edges
from monai_nce.networks.inference_generator import CentredConv2d, InferenceGenerator, UpsampledHead
from monai_nce.networks.input_statistics import _body, input_statistics


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
            torch.testing.assert_close(net.for_inference()(x), net(x), atol=2e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_any_means_give_the_same_function_if_each_group_has_one(seed):
    torch.manual_seed(seed)
    net = trained(channels=(8, 6, 4), hidden_channels=6, num_groups=2)
    means = {name: torch.randn_like(mean) * 3 for name, mean in input_statistics(net)[0].items()}
    for name, mean in means.items():
        if name.endswith(".norm"):
            mean.copy_(mean.unflatten(0, (2, -1)).mean(dim=1, keepdim=True).expand(2, len(mean) // 2).flatten())
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(InferenceGenerator(net, torch.float32, means)(x), net(x), atol=5e-5, rtol=0)


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
    offset = torch.rand(channels, generator=random, dtype=torch.float64) * 10
    features = torch.rand(2, channels, height, width, generator=random, dtype=torch.float64)
    image = torch.rand(2, image_channels, 2 * height, 2 * width, generator=random, dtype=torch.float64)
    upsampled = functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = torch.tanh(head(torch.cat([upsampled, image], dim=1)))
        torch.testing.assert_close(
            UpsampledHead(head, offset)(features - offset[:, None, None], image), expected, atol=1e-12, rtol=0
        )


def with_ones(image: torch.Tensor) -> torch.Tensor:
    return functional.pad(image, (0, 0, 0, 0, 0, 2), value=1.0)


@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel_size=st.sampled_from([1, 3]),
    channels=st.integers(1, 3),
    image_channels=st.sampled_from([0, 2]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_an_offset_is_put_back_along_the_edges_too(size, kernel_size, channels, image_channels, bias, seed):
    random = torch.Generator().manual_seed(seed)
    convolution = nn.Conv2d(channels + image_channels, 4, kernel_size, padding=kernel_size // 2, bias=bias).double()
    features = torch.rand(2, channels, *size, generator=random, dtype=torch.float64)
    image = torch.rand(2, 2, *size, generator=random, dtype=torch.float64)
    offset = torch.rand(channels, generator=random, dtype=torch.float64) * 10
    more = torch.rand(4, generator=random, dtype=torch.float64)
    centred = CentredConv2d(convolution, offset, slices=2, dtype=torch.float64, bias=more)
    with torch.no_grad():
        expected = convolution(torch.cat([features, image[:, :image_channels]], dim=1)) + more[:, None, None]
        for _ in range(2):  # the second time with what ones give, where there is nothing else
            got = centred(features - offset[:, None, None], with_ones(image))
            torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)
        cut = features[:1, :, :1], image[:1, :, :1]  # other images of another size
        expected = convolution(torch.cat([cut[0], cut[1][:, :image_channels]], dim=1)) + more[:, None, None]
        got = centred(cut[0] - offset[:, None, None], with_ones(cut[1]))
        torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


def test_in_bf16_neither_offset_nor_bias_is_rounded():
    torch.manual_seed(0)
    convolution = nn.Conv2d(2, 3, 3, padding=1)
    image = torch.zeros(1, 0, 8, 8)
    with torch.no_grad():
        convolution.weight.copy_(convolution.weight.bfloat16())  # the rounding of weights is another matter
        convolution.bias.fill_(1.001)
        flat = torch.full((1, 2, 8, 8), 100.3)
        expected = convolution(flat)
        means = expected[0, :, 4, 4]
        centred = CentredConv2d(convolution, torch.tensor([100.3, 100.3]), 0, torch.bfloat16, -means)
        got = centred((flat - 100.3).bfloat16(), with_ones(image).bfloat16()).float() + means[:, None, None]
        plain = convolution.bfloat16()(flat.bfloat16()).float()
    off, plainly_off = ((y - expected).abs()[..., 1:-1, 1:-1].max() for y in (got, plain))
    assert off < 1e-3 < 0.1 < plainly_off


@pytest.mark.parametrize("eight_bits", [False, True])
def test_the_generator_is_left_as_it_is(eight_bits, monkeypatch):
    monkeypatch.setattr(inference_generator, "LEAST_WEIGHTS", 0)
    net = trained(channels=(8, 8, 8, 8, 4), hidden_channels=4, num_groups=2).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ready = net.for_inference(torch.float32, eight_bits)
    for value in (*ready.parameters(), *ready.buffers()):
        value.data.zero_()
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_what_is_in_bf16_and_what_is_not():
    ready = trained(channels=(8, 4), hidden_channels=4).for_inference(torch.bfloat16)
    short = {name for name, p in ready.named_parameters() if p.dtype == torch.bfloat16}
    assert {name for name, _ in ready.named_parameters()} - short == {
        f"head.{part}.{name}" for part in ("head", "features", "image") for name in ("weight", "bias")
    }
    assert not any(p.requires_grad for p in ready.parameters())
    with torch.no_grad():
        assert ready(torch.rand(1, 3, 16, 16)).dtype == torch.float32


# of six blocks: grids 64, 32 and 16 times coarser than the image, and what comes from the last of them
COARSE_OF_SIX = {
    *(f"blocks.{i}.{conv}.features" for i in range(3) for conv in ("conv_1", "conv_2")),
    *(f"blocks.{i}.{norm}.gamma_beta.1" for i in range(3) for norm in ("spade_1", "spade_2")),
    "blocks.3.conv_1.features",
}


def in_eight_bits(ready: nn.Module) -> set[str]:
    return {name for name, module in ready.named_modules() if isinstance(module, EightBitFeatures)}


def test_the_papers_network_is_partly_in_eight_bits_and_its_channels_are_shared_out():
    torch.manual_seed(0)
    net = Generator()
    ready = net.for_inference(torch.bfloat16, eight_bits=True)
    assert in_eight_bits(ready) == COARSE_OF_SIX
    _, reaches = input_statistics(net)
    block, hidden = net.blocks[1], net.blocks[2].spade_2.hidden[0]
    for name, convolution, reach in (
        ("blocks.1.conv_1.features", block.conv_1, reaches["blocks.1"]),
        ("blocks.1.conv_2.features", block.conv_2, reaches["blocks.1.conv_2"]),
        (
            "blocks.2.spade_2.gamma_beta.1",
            net.blocks[2].spade_2.gamma_beta,
            largest_at_edges(hidden.weight) + hidden.bias.abs(),
        ),
    ):
        channels = ready.get_submodule(name).factor.shape[0]  # without the image's
        expected = EightBitFeatures(convolution.weight[:, :channels], None, reach[:channels])
        assert torch.equal(ready.get_submodule(name).factor, expected.factor), name
        assert expected.factor.std() > 0


def test_of_what_is_coarse_convolutions_of_features_are_in_eight_bits(monkeypatch):
    net = trained(channels=(8, 8, 8, 8, 8, 4), hidden_channels=4, num_groups=2)
    assert not in_eight_bits(net.for_inference(torch.bfloat16, eight_bits=True)), "too few weights"
    monkeypatch.setattr(inference_generator, "LEAST_WEIGHTS", 200)
    assert in_eight_bits(net.for_inference(torch.bfloat16, eight_bits=True)) == COARSE_OF_SIX
    assert not in_eight_bits(net.for_inference(torch.bfloat16))
    monkeypatch.setattr(inference_generator, "LEAST_WEIGHTS", 8 * (8 + 3) * 9 + 1)
    assert not in_eight_bits(net.for_inference(torch.bfloat16, eight_bits=True))


@pytest.mark.parametrize("channels", [(16, 12, 12, 8, 8), (12, 15, 18, 8)])  # with and without shortcuts
def test_in_eight_bits_it_is_the_same_function_but_for_rounding(channels, monkeypatch):
    monkeypatch.setattr(inference_generator, "LEAST_WEIGHTS", 0)
    torch.manual_seed(0)
    net = Generator(channels=channels, hidden_channels=8, num_groups=3).eval()
    x = torch.rand(2, 3, 64, 96) * 2 - 1
    ready = net.for_inference(torch.float32, eight_bits=True)
    assert in_eight_bits(ready)
    with torch.no_grad():
        expected, got = net(x), ready(x)
    assert 0 < (got - expected).std() < 0.03 * expected.std()


def test_in_bf16_what_is_kept_of_the_input_is_not_rounded():
    net = Generator(channels=(8, 4), hidden_channels=4, residual=True)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        # untrained, a residual network is the identity: any rounding would show
        assert torch.equal(net.for_inference(torch.bfloat16)(x), x)


def test_what_is_stored_in_a_short_format_lies_around_zero():
    torch.manual_seed(0)
    net = trained(channels=(16, 8, 8), hidden_channels=8, num_groups=4)
    ready = net.for_inference()
    inputs: dict[str, torch.Tensor] = {}
    for name, module in ready.named_modules():
        # the first block's shortcut is no convolution that could take an offset off
        if name.endswith(("norm", "conv_2", "2.conv_1", "2.shortcut")) or name == "head":
            module.register_forward_pre_hook(lambda module, args, name=name: inputs.update({name: args[0]}))
    image = _body(net.size_factor)
    ready(image.expand(1, 3, -1, -1))
    assert len(inputs) == 6 + 3 + 2 + 1
    for name, features in inputs.items():
        body = features[0, :, (functional.adaptive_avg_pool2d(image, features.shape[2:]) > -0.9)[0, 0]]
        if name.endswith("norm"):
            body = body.unflatten(0, (4, -1)).mean(dim=1)  # of each group, which is what the norm takes out
        # before or after the upsampling is not quite the same, and means have eight bits
        limit = 0.2 if name == "head" else 0.05
        assert body.mean(dim=1).abs().max() < limit, name


def test_gradients_are_not_for_this_network():
    ready = Generator(channels=(8,), hidden_channels=4).for_inference()
    assert not ready(torch.rand(1, 3, 8, 8)).requires_grad
