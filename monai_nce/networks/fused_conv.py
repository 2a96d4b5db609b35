"""A convolution with what follows it, for backends that do all of it at once."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["FusedConv2d"]


class FusedConv2d(nn.Conv2d):
    """A convolution that keeps the size, a summand and a leaky ReLU behind it, all of which a backend can do at once.

    Args:
        weight: ``(out_channels, in_channels, K, K)``, K odd.
        bias: ``(out_channels,)`` or None.
        dtype: of the weights.
        negative_slope: of the leaky ReLU; None has none.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        negative_slope: float | None = None,
    ) -> None:
        out_channels, in_channels, size, _ = weight.shape
        super().__init__(in_channels, out_channels, size, padding=size // 2, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight.detach().to(dtype, copy=True))
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype, copy=True))
        self.negative_slope = negative_slope

    def forward(self, x: torch.Tensor, summand: torch.Tensor | None = None, padded: bool = True) -> torch.Tensor:
        """
        Args:
            x: input.
            summand: added to the convolution's result, and overwritten.
            padded: with zeros; else the result is smaller.

        Shape:
            - x: ``(B, in_channels, H, W)``
            - summand and output: ``(B, out_channels, H, W)``, or H - K + 1 and W - K + 1
        """
        y = functional.conv2d(x, self.weight, self.bias, padding=self.padding if padded else 0)
        if summand is not None:
            y = y.add_(summand)
        return y if self.negative_slope is None else functional.leaky_relu(y, self.negative_slope, inplace=True)
