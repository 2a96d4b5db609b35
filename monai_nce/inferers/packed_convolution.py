"""Convolutions on a CPU by oneDNN with weights that are brought into its layout once instead of in each pass."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["PackedConv2d", "PackedEightBitConv2d", "can_pack", "has_eight_bits", "pack_convolutions"]

MOST_SIZES = 16
GEOMETRY = ([1, 1], [0, 0], [1, 1])  # stride, padding and dilation of a convolution of bytes


class PackedConv2d(nn.Module):
    """:class:`torch.nn.Conv2d`, a summand, and the leaky ReLU behind it if it has a ``negative_slope``, at once.

    The operation is the one that ``torch.compile`` puts in place of a convolution; here it needs no compiler. Which
    layout oneDNN wants depends on the input's size, so the weights are laid out for each height and width, and kept for
    the last ``MOST_SIZES`` of them. In any other layout they are brought into the wanted one in every pass, which can
    cost a hundred times as much as the convolution.

    Args:
        convolution: on a CPU.

    Shape:
        - as of the convolution
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.padding = tuple(map(int, convolution.padding))
        self.steps = convolution.stride, convolution.dilation
        self.groups = convolution.groups
        self.weight = convolution.weight.detach().to_mkldnn()
        self.weight_for = lru_cache(MOST_SIZES)(partial(_laid_out, self.weight, *self.steps, self.groups))
        self.bias = None if convolution.bias is None else convolution.bias.detach()
        self.negative_slope: float | None = getattr(convolution, "negative_slope", None)

    def forward(self, x: torch.Tensor, summand: torch.Tensor | None = None, padded: bool = True) -> torch.Tensor:
        """
        Args:
            x: input.
            summand: added to the convolution's result, and overwritten by it.
            padded: as the convolution is; else not at all.
        """
        padding = self.padding if padded else (0, 0)
        slope, weight, geometry = self.negative_slope, self.weight_for(padding, x.shape), (padding, *self.steps)
        if summand is None:
            activation = ("none", []) if slope is None else ("leaky_relu", [slope])
            return torch.ops.mkldnn._convolution_pointwise(
                x, weight, self.bias, *geometry, self.groups, *activation, ""
            )
        y = torch.ops.mkldnn._convolution_pointwise_.binary(
            summand, x, weight, self.bias, *geometry, self.groups, "add", 1.0, None, [], None
        )
        return y if slope is None else functional.leaky_relu(y, slope, inplace=True)


class PackedEightBitConv2d(nn.Module):
    """:class:`~monai_nce.networks.eight_bits.EightBitConv2d` by oneDNN, its weights laid out as in the other class.

    Args:
        convolution: on a CPU that :func:`has_eight_bits`.

    Shape:
        - as of the convolution
    """

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.weight, self.scale = convolution.get_buffer("weight"), convolution.get_buffer("scale")
        self.zero_points = torch.zeros(len(self.scale), dtype=torch.int32)
        self.weight_for = lru_cache(MOST_SIZES)(partial(_laid_out_bytes, self.weight, self.scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _convolved(x, self.weight_for(x.shape), self.scale, self.zero_points)


# functions and no methods: a cache of a method would keep its object, and with it a network, from being freed
def _laid_out(
    weight: torch.Tensor,
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
    padding: tuple[int, ...],
    shape: torch.Size,
) -> torch.Tensor:
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
    return reorder(weight, padding, stride, dilation, groups, shape)


def _laid_out_bytes(weight: torch.Tensor, scale: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return torch.ops.onednn.qconv_prepack(weight, scale, 1.0, 0, *GEOMETRY, 1, list(shape))


def _convolved(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, zero_points: torch.Tensor) -> torch.Tensor:
    settings: Any = (zero_points, None, *GEOMETRY, 1, 1.0, 0, torch.float32, "none", [], "")
    return torch.ops.onednn.qconv2d_pointwise(x, 1.0, 0, weight, scale, *settings)


def has_eight_bits() -> bool:
    """Whether this build of PyTorch and this processor compute convolutions of bytes fast and without overflow."""
    can: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    # older processors add products of bytes in 16 bits
    if not any(can.get(name) for name in ("amx_int8", "avx512_vnni", "avx_vnni")):
        return False
    try:  # the operations are not public ones
        weight, scale = torch.full((64, 4, 3, 3), 127, dtype=torch.int8), torch.ones(64)
        zero_points = torch.zeros(64, dtype=torch.int32)
        x = torch.full((1, 4, 3, 3), 255, dtype=torch.uint8).to(memory_format=torch.channels_last)
        y = _convolved(x, _laid_out_bytes(weight, scale, x.shape), scale, zero_points)
        return bool((y == 4 * 9 * 127 * 255).all())
    except (AttributeError, RuntimeError, TypeError):
        return False


def can_pack(convolution: nn.Module) -> bool:
    """Whether a module is a convolution that :class:`PackedConv2d` can stand for, in this build of PyTorch."""
    return (
        isinstance(convolution, nn.Conv2d)
        and (type(convolution) is nn.Conv2d or hasattr(convolution, "negative_slope"))
        and convolution.padding_mode == "zeros"
        and not isinstance(convolution.padding, str)
        and convolution.weight.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and _processor_has(convolution.weight.dtype)
    )


def _processor_has(dtype: torch.dtype) -> bool:
    """Whether oneDNN computes in this format here; the plain convolution works without, in a short format slowly."""
    if dtype == torch.float32:
        return torch.backends.cpu.get_cpu_capability().startswith("AVX")
    name = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}.get(dtype)
    return name is not None and hasattr(torch.ops.mkldnn, name) and bool(getattr(torch.ops.mkldnn, name)())


def pack_convolutions(network: nn.Module) -> nn.Module:
    """Put a packed convolution in place of every convolution that one can stand for.

    Args:
        network: changed in place; for inference alone, since the packed weights take no gradient.

    Returns:
        The network, or the packed convolution where it was nothing but one.
    """
    if can_pack(network):
        return PackedConv2d(network)  # type: ignore[arg-type]
    if getattr(getattr(network, "weight", None), "dtype", None) == torch.int8 and has_eight_bits():
        return PackedEightBitConv2d(network)
    for name, child in network.named_children():
        setattr(network, name, pack_convolutions(child))
    return network
