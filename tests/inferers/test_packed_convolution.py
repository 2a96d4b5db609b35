from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from monai_nce.inferers import packed_convolution
from monai_nce.inferers.packed_convolution import PackedConv2d, can_pack, pack_convolutions
from monai_nce.networks.fused_conv import FusedConv2d

pytestmark = pytest.mark.skipif(
    not can_pack(nn.Conv2d(1, 1, 1).bfloat16()), reason="needs a PyTorch with oneDNN and a processor with bf16"
)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{"kernel_size": 3, "padding": 1}, {"kernel_size": (3, 5), "stride": 2}, {"kernel_size": 3, "groups": 2}],
)
def test_computes_what_the_convolution_computes(settings, bias):
    convolution = nn.Conv2d(4, 6, bias=bias, **settings)
    packed = PackedConv2d(convolution)
    for size in ((9, 8), (17, 33)):
        x = torch.randn(2, 4, *size).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            torch.testing.assert_close(packed(x), convolution(x), atol=1e-5, rtol=1e-5)


def test_without_its_padding_it_computes_the_inside():
    convolution = FusedConv2d(torch.randn(5, 3, 3, 3), torch.randn(5), torch.float32)
    packed = PackedConv2d(convolution)
    x = torch.randn(1, 3, 12, 13).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        whole = packed(x)
        for inside in (packed(x, padded=False), convolution(x, padded=False)):  # of the same size
            torch.testing.assert_close(inside, whole[:, :, 1:-1, 1:-1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_leaky_relu_is_part_of_it(dtype):
    convolution = FusedConv2d(torch.randn(5, 3, 3, 3), torch.randn(5), dtype, negative_slope=0.2)
    x = torch.randn(1, 3, 12, 12, dtype=dtype)
    with torch.inference_mode():
        got, expected = PackedConv2d(convolution)(x), convolution(x)
    assert got.dtype == dtype
    assert (got < 0).any()
    torch.testing.assert_close(got, expected, atol=1e-5 if dtype == torch.float32 else 0.1, rtol=0.01)


@pytest.mark.parametrize("slope", [None, 0.2])
def test_a_summand_is_added_before_the_leaky_relu(slope):
    convolution = FusedConv2d(torch.randn(5, 3, 3, 3), torch.randn(5), torch.bfloat16, negative_slope=slope)
    x = torch.randn(1, 3, 12, 12).bfloat16().to(memory_format=torch.channels_last)
    summand = torch.randn(1, 5, 12, 12).bfloat16().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = convolution(x, summand)
        assert not torch.allclose(expected, convolution(x), atol=0.5), "the test cannot tell the two apart"
        torch.testing.assert_close(PackedConv2d(convolution)(x, summand.clone()), expected, atol=0.1, rtol=0.02)


def test_all_that_can_be_packed_is_and_nothing_else():
    class Own(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Sequential(nn.Conv2d(4, 4, 3, padding="same"), nn.ReLU()),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        Own(4, 4, 1),
        nn.ConvTranspose2d(4, 2, 2),
        nn.Sequential(nn.Conv2d(2, 2, 1)),
    ).bfloat16()
    expected = copy.deepcopy(network)
    packed = pack_convolutions(network)
    kinds = [type(module).__name__ for module in packed.modules() if not isinstance(module, nn.Sequential)]
    assert kinds == ["PackedConv2d", "Conv2d", "ReLU", "Conv2d", "Own", "ConvTranspose2d", "PackedConv2d"]
    x = torch.rand(1, 3, 10, 10, dtype=torch.bfloat16)
    with torch.inference_mode():
        torch.testing.assert_close(packed(x), expected(x), atol=0.02, rtol=0.02)
    assert isinstance(pack_convolutions(nn.Conv2d(1, 1, 1).bfloat16()), PackedConv2d)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(96, 96, 3, 3), (512, 512, 1, 1), (40, 3, 3, 3)])
def test_weights_are_laid_out_once_for_each_size_of_the_input(dtype, shape, capfd):
    packed = PackedConv2d(nn.Conv2d(shape[1], shape[0], shape[2], padding=shape[2] // 2).to(dtype))

    def laid_out(size):
        x = torch.randn(4, shape[1], size, size, dtype=dtype).to(memory_format=torch.channels_last)
        capfd.readouterr()
        with torch.inference_mode(), torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            packed(x)
        said = capfd.readouterr().out.splitlines()
        assert any("exec,cpu,convolution" in line for line in said)
        return sum("exec,cpu,reorder" in line and "x".join(map(str, shape)) in line for line in said)

    assert laid_out(4) > 0
    for size in (4, 16, 64, 4):
        laid_out(size)
        assert laid_out(size) == 0


def test_a_format_that_the_processor_lacks_is_left_to_the_plain_convolution(monkeypatch):
    convolution = nn.Conv2d(2, 2, 1).bfloat16()
    assert can_pack(convolution) and not can_pack(nn.Conv2d(2, 2, 1).double())
    monkeypatch.setattr(packed_convolution, "_processor_has", lambda dtype: False)
    assert pack_convolutions(convolution) is convolution
