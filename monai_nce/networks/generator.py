"""Translate slice stacks from one domain to the other: the generator of both stages (paper §3.3, §4.1, Fig. 4a)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from monai_nce.errors import InputError

from .spade import SPADEResidualBlock

__all__ = ["Generator"]


class Generator(nn.Module):
    """Translate a slice stack of one domain to the same stack in the other with SPADE blocks (paper §3.3, Fig. 4a).

    Each SPADE residual block sees the input reduced to its grid, is followed by a bilinear upsampling by two, and the
    input at the new grid is concatenated to the result. The first block starts from a 3x3 convolution of the input
    reduced by ``2 ** len(channels)``; a 3x3 convolution and tanh end it. The defaults are the figures of §4.1.

    A condition, such as the contrast phase, is channels behind the slices, a constant plane for each of its numbers
    (:func:`monai_nce.contrast.append_condition`). Only SPADE's guides hold it: it scales and shifts features.

    Args:
        slices: slices of the stack, in and out.
        channels: output channels of the residual blocks; their number is the number of blocks.
        hidden_channels: width inside each SPADE.
        num_groups: groups of the group normalisation (the largest divisor of the channels up to it).
        negative_slope: of the leaky ReLUs.
        residual: learn the change instead of the image, starting at the identity: with ``t = tanh(.)`` the output is
            ``x + t (1 - x)`` where t is positive and ``x + t (1 + x)`` where it is negative, that is, so much of the
            way to the end of [-1, 1]. Off in the paper.
        condition_channels: planes of a condition. None in the paper.

    Raises:
        ValueError: when ``channels`` is empty or a count is below 1.

    Example:
        >>> net = Generator(channels=(64, 32), hidden_channels=16)
        >>> net(torch.zeros(1, 3, 64, 48)).shape
        torch.Size([1, 3, 64, 48])
    """

    def __init__(
        self,
        slices: int = 3,
        channels: Sequence[int] = (512, 512, 256, 128, 64, 32),
        hidden_channels: int = 128,
        num_groups: int = 32,
        negative_slope: float = 0.2,
        residual: bool = False,
        condition_channels: int = 0,
    ) -> None:
        super().__init__()
        if not channels or min(slices, hidden_channels, *channels) < 1:
            raise ValueError(
                "expected at least one block and only positive counts but got "
                f"slices={slices}, channels={tuple(channels)}, hidden_channels={hidden_channels}"
            )
        if condition_channels < 0:
            raise ValueError(f"expected condition_channels of at least 0 but got {condition_channels}")
        # each argument is kept under its name: the weights' file says how to build the network again
        self.slices, self.channels, self.hidden_channels = slices, tuple(channels), hidden_channels
        self.num_groups, self.negative_slope, self.residual = num_groups, negative_slope, residual
        self.condition_channels = condition_channels
        self.size_factor = 2 ** len(channels)
        self.stem = nn.Conv2d(slices, channels[0], kernel_size=3, padding=1)
        in_channels = [channels[0], *(c + slices for c in channels[:-1])]
        self.blocks = nn.ModuleList(
            SPADEResidualBlock(c_in, c_out, slices + condition_channels, hidden_channels, num_groups, negative_slope)
            for c_in, c_out in zip(in_channels, channels, strict=True)
        )
        self.head = nn.Conv2d(channels[-1] + slices, slices, kernel_size=3, padding=1)
        if residual:
            for parameter in self.head.parameters():
                nn.init.zeros_(parameter)

    def check_size(self, height: int, width: int) -> None:
        """Raise InputError for an in-plane size that the network cannot take, with the next larger one that fits."""
        f = self.size_factor
        if height % f != 0 or width % f != 0:
            fits = f"{-(-height // f) * f} x {-(-width // f) * f} would fit"
            raise InputError(f"expected in-plane sizes divisible by {f} but got {height} x {width}; {fits}")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - x: slice stacks ``(B, slices, H, W)`` in [-1, 1], H and W divisible by ``2 ** number of blocks``; with
              their condition ``(B, slices + condition_channels, H, W)``, whose planes are zeros where it is not given
            - output: ``(B, slices, H, W)``

        Raises:
            InputError: as :meth:`check_size` does.
        """
        self.check_size(x.shape[2], x.shape[3])
        if self.condition_channels > 0 and x.shape[1] == self.slices:
            x = torch.cat([x, x.new_zeros(x.shape[0], self.condition_channels, x.shape[2], x.shape[3])], dim=1)
        # area reduction by two, again and again, is area reduction by each power of two
        guides = [x]
        for _ in range(len(self.blocks)):
            guides.append(functional.avg_pool2d(guides[-1], kernel_size=2))
        y = self.stem(self._stacks(guides[-1]))
        for level, block in enumerate(self.blocks):
            y = block(y, guides[len(self.blocks) - level])
            y = functional.interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=False)
            y = torch.cat([y, self._stacks(guides[len(self.blocks) - level - 1])], dim=1)
        y = torch.tanh(self.head(y))
        if self.residual:
            # bounded without a clamp, whose gradient would end where it is needed; two ReLUs, one for each sign, would
            # have no gradient at t = 0, where everything starts
            x = self._stacks(x)
            y = x + y - y.abs() * x
        return y

    def _stacks(self, guide: torch.Tensor) -> torch.Tensor:
        """Return a guide without its condition."""
        return guide[:, : self.slices] if self.condition_channels > 0 else guide
