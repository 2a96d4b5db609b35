"""Convolutions of bytes in packed_convolution.py, on processors without bf16 too."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from monai_nce.inferers import packed_convolution
from monai_nce.inferers.packed_convolution import PackedEightBitConv2d, has_eight_bits, pack_convolutions
from monai_nce.networks.eight_bits import EightBitConv2d, EightBitFeatures, EightBitPair

needs_eight_bits = pytest.mark.skipif(not has_eight_bits(), reason="needs a processor with VNNI or AMX")


@needs_eight_bits
def test_sums_of_bytes_are_exact():
    weight = torch.randint(-127, 128, (33, 130, 3, 3), dtype=torch.int8)
    weight[0] = 127  # 130 x 9 x 127 x 255 is more than 24 bits hold
    convolution = EightBitConv2d(weight, torch.ones(33))
    packed = pack_convolutions(convolution)
    assert isinstance(packed, PackedEightBitConv2d)
    for size in ((9, 8), (17, 33)):
        x = torch.randint(0, 256, (2, 130, *size), dtype=torch.uint8).to(memory_format=torch.channels_last)
        x[0, :, :3, :3] = 255
        with torch.inference_mode():
            got, expected = packed(x), convolution(x)
        assert got.dtype == torch.float32
        assert expected.max() == 130 * 9 * 127 * 255
        torch.testing.assert_close(got, expected, atol=0, rtol=1e-7)


@needs_eight_bits
def test_a_pair_in_eight_bits_is_packed_as_a_whole():
    pair = EightBitPair(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 6, 3), 0.2)
    expected, packed = copy.deepcopy(pair), pack_convolutions(pair)
    kinds = [type(module).__name__ for module in packed.children()]
    assert kinds == ["PackedConv2d", "PackedEightBitConv2d", "PackedConv2d"]
    x = (torch.rand(1, 3, 40, 40) * 2 - 1).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        wrong = (packed(x) - expected(x)).abs()
    assert (wrong > 1e-5).float().mean() < 0.05  # a sum in another order may end on the other side of a step
    assert wrong.max() < 0.01 * expected(x).std()


@needs_eight_bits
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (8, 12)])
def test_packed_features_are_what_unpacked_ones_are(size):
    torch.manual_seed(0)
    features = EightBitFeatures(torch.randn(24, 40, 3, 3), torch.randn(24), torch.rand(40))
    expected, packed = copy.deepcopy(features), pack_convolutions(features)
    assert isinstance(packed.rounded, PackedEightBitConv2d)
    x, summand = torch.randn(3, 40, *size), torch.randn(3, 24, *size).bfloat16()
    with torch.inference_mode():
        for layout in (torch.contiguous_format, torch.channels_last):
            got = packed(x.to(memory_format=layout), summand)
            torch.testing.assert_close(got, expected(x, summand), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(
    ("processor", "fit"),
    [
        ({"avx512_vnni": True}, True),
        ({"avx_vnni": True}, True),
        ({"amx_int8": True}, True),
        ({"avx512_f": True}, False),
    ],
)
@needs_eight_bits
def test_only_processors_that_add_bytes_in_32_bits_are_used(processor, fit, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert has_eight_bits() is fit
    convolution = EightBitConv2d(torch.ones(1, 1, 3, 3, dtype=torch.int8), torch.ones(1))
    assert (pack_convolutions(convolution) is convolution) is not fit


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, TypeError])
def test_a_build_whose_operations_are_others_has_none(error, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True}, raising=False)

    def other(*arguments):
        raise error

    monkeypatch.setattr(packed_convolution, "_laid_out_bytes", other)
    assert not has_eight_bits()
