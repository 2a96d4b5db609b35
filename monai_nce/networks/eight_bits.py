"""Convolutions in 8 bits: of coarse features, and of what a leaky ReLU makes of a convolution of an image."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .fused_conv import FusedConv2d

__all__ = ["EightBitConv2d", "EightBitFeatures", "EightBitPair", "largest_at_edges", "reach_of", "rounded_filters"]

LEVELS = 256  # of an unsigned byte
LARGEST_WEIGHT = 126  # before it is rounded up
DIRECTIONS = 16  # of the edges that a range is made for
# of the median channel's: one that reaches farther than was seen would leave the others few levels
LEAST_REACH = 1 / 8


class EightBitConv2d(nn.Module):
    """A convolution of bytes by whole numbers of 8 bits, unpadded; summed exactly, then rounded to float32.

    Args:
        weight: ``(out_channels, in_channels, K, K)``, int8.
        scale: ``(out_channels,)``, what a sum is multiplied with.

    Shape:
        - x: ``(B, in_channels, H, W)``, uint8
        - output: ``(B, out_channels, H - K + 1, W - K + 1)``, float32
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # a sum of bytes fits into 24 bits only for few channels, so it is made in float64
        return (functional.conv2d(x.double(), self.weight.double()) * self.scale[:, None, None]).float()


class EightBitFeatures(nn.Module):
    """A convolution that keeps the size, of features rounded to 8 bits: to 256 levels between an image's extremes.

    Channels that reach far would leave the others few of the levels, and channels with large weights would do so with
    those of the weights. So each channel is divided by a factor, and its weights are multiplied with it, such that
    features and weights differ equally much between channels.

    Args:
        weight: ``(out_channels, in_channels, 3, 3)``.
        bias: ``(out_channels,)`` or None.
        reach: ``(in_channels,)``, roughly how far the channels reach, or a multiple of it.

    Shape:
        - x: ``(B, in_channels, H, W)``
        - summand: ``(B, out_channels, H, W)``, added to the result
        - output: ``(B, out_channels, H, W)``, float32
    """

    factor: torch.Tensor
    of_one: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, reach: torch.Tensor) -> None:
        super().__init__()
        weight, reach = weight.detach().float(), reach.detach().float()
        reach = reach.clamp(min=LEAST_REACH * float(reach.median())).clamp(min=1e-6)
        factor = (reach / weight.abs().amax(dim=(0, 2, 3)).clamp(min=1e-6)).sqrt()
        weight = weight * factor[:, None, None]
        self.rounded, sums = _rounded(weight)
        self.register_buffer("factor", (1 / factor)[:, None, None])
        self.register_buffer("of_one", sums[:, None, None])
        self.register_buffer("bias", torch.zeros_like(sums) if bias is None else bias.detach().to(sums, copy=True))

    def forward(self, x: torch.Tensor, summand: torch.Tensor | None = None) -> torch.Tensor:
        y = functional.pad(x.float() * self.factor, (1, 1, 1, 1))  # so that zero is among the levels
        # torch.aminmax would take twenty times as long
        low, high = y.amin(dim=(1, 2, 3), keepdim=True), y.amax(dim=(1, 2, 3), keepdim=True)
        step = ((high - low) / (LEVELS - 1)).clamp_(min=1e-30)
        zero = (low / -step).round_()
        levels = _levels(y.mul_(1 / step).add_(zero + 0.5))
        y = self.rounded(levels).mul_(step).add_(self.bias[:, None, None] - zero * step * self.of_one)
        return y if summand is None else y.add_(summand)


class EightBitPair(nn.Module):
    """``second(leaky_relu(first(image)))`` away from the image's edges, half of it in 8 bits.

    A leaky ReLU of slope ``a`` is a linear function and a fold: ``(1 + a) / 2 u + (1 - a) / 2 |u|``. What the linear
    part leads to is one larger convolution of the image, in float32. The fold alone is rounded, to bytes: for a slope
    of 0.2 its range is a third of the leaky ReLU's, and as large a part of rounding errors is left.

    Args:
        first: 3x3 convolution of the image.
        second: 3x3 convolution of what the first gives.
        negative_slope: of the leaky ReLU.

    Shape:
        - image: ``(B, first.in_channels, H, W)``, float32, in [-1, 1]
        - output: ``(B, second.out_channels, H - 4, W - 4)``, float32
    """

    def __init__(self, first: nn.Conv2d, second: nn.Conv2d, negative_slope: float) -> None:
        super().__init__()
        weight_1, weight_2 = first.weight.detach().float(), second.weight.detach().float()
        bias_1, bias_2 = (
            torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach().float()
            for layer in (first, second)
        )
        step = reach_of(first).clamp(min=1e-12) / LEVELS
        fold = weight_2 * ((1 - negative_slope) / 2) * step[:, None, None]
        rounded, sums = _rounded(fold)
        linear = weight_2 * ((1 + negative_slope) / 2)
        bias = bias_2 + torch.einsum("ochw,c->o", linear, bias_1)
        bias += sums / 2  # bytes are rounded down: on average half a step is missing
        self.fold = FusedConv2d(weight_1 / step[:, None, None, None], bias_1 / step, torch.float32, negative_slope=-1.0)
        self.rounded = rounded
        self.linear = FusedConv2d(_composed(weight_1, linear), bias, torch.float32)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.linear(image, self.rounded(_levels(self.fold(image, padded=False))), padded=False)


def _rounded(weight: torch.Tensor) -> tuple[EightBitConv2d, torch.Tensor]:
    """A convolution whose weights are rounded to 8 bits, and the sums of its filters, ``(out_channels,)``."""
    scale = weight.abs().amax(dim=(1, 2, 3)).clamp(min=1e-30) / LARGEST_WEIGHT
    whole = rounded_filters(weight / scale[:, None, None, None])
    return EightBitConv2d(whole.to(torch.int8), scale), whole.sum(dim=(1, 2, 3)) * scale


def _levels(x: torch.Tensor) -> torch.Tensor:
    """Numbers above -1 as bytes, rounded down; what is beyond the last one is cut off."""
    # by way of 16 bits, as that way PyTorch is four times as fast
    return x.to(torch.int16).clamp_(max=LEVELS - 1).to(torch.uint8)


def _composed(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Weights of the one convolution that two unpadded ones, the second of the first's result, amount to."""
    turned = functional.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=second.shape[-1] - 1)
    return turned.transpose(0, 1)


def reach_of(first: nn.Conv2d) -> torch.Tensor:
    """How far what a convolution makes of an image reaches: :func:`largest_at_edges`, and its bias."""
    largest = largest_at_edges(first.weight.detach().float())
    return largest if first.bias is None else largest + first.bias.detach().float().abs()


def largest_at_edges(weight: torch.Tensor) -> torch.Tensor:
    """How large a convolution without bias gets where a straight edge from -1 to 1, of any direction, crosses a slice.

    Each slice may have the edge that is the worst for it. Detail that is finer than that can lead to more.

    Args:
        weight: ``(out_channels, slices, K, K)``.

    Returns:
        ``(out_channels,)``
    """
    position = torch.arange(weight.shape[-1], dtype=weight.dtype) - (weight.shape[-1] - 1) / 2
    angles = torch.arange(DIRECTIONS, dtype=weight.dtype) * (2 * math.pi / DIRECTIONS)
    across = angles.cos()[:, None, None] * position[:, None] + angles.sin()[:, None, None] * position
    places = torch.arange(-weight.shape[-1] / 2, weight.shape[-1] / 2, 0.5, dtype=weight.dtype) + 0.01
    edges = (across - places[:, None, None, None]).sign().flatten(0, 1)
    return torch.einsum("ocij,eij->eoc", weight, edges).amax(dim=0).sum(dim=1)


def rounded_filters(weight: torch.Tensor) -> torch.Tensor:
    """Weights rounded to whole numbers, so that the sum of each filter is off by half at most, and no weight by one.

    Rounding each to the nearest would leave an error of the sum, which even areas of an image see.

    Args:
        weight: ``(out_channels, in_channels, K, K)``
    """
    sums = functional.pad(weight.flatten(2).cumsum(dim=2).round(), (1, 0))
    return sums.diff(dim=2).view_as(weight)
