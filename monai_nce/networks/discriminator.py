"""Tell real and synthetic slice stacks apart: the discriminator of stage 1 (paper §3.1, §3.3 and §4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from monai_nce.errors import InputError

from .spade import largest_group_count

__all__ = ["Discriminator"]


class Discriminator(nn.Module):
    """Judge a whole slice stack: DCGAN's discriminator with bilinear reductions (paper §3.3).

    Per layer a 3x3 convolution, group norm, leaky ReLU and a bilinear reduction by two; then one linear layer from the
    flattened map to the logits of the classes. With the paper's six layers a 256x256 input leaves a 4x4 map.

    Args:
        slices: slices of the stack.
        channels: output channels of the convolutions (§4.1: 64 ... 2048).
        num_classes: real output domain, real input domain, synthetic: 3 (paper §3.1).
        input_size: in-plane size of the images, for which the linear layer is made.
        num_groups: groups of the group normalisation (the largest divisor of the channels up to it).
        negative_slope: of the leaky ReLUs.
        patches: judge each place of the last map by itself, as PatchGAN does (Isola et al., CVPR 2017), and not the
            whole stack at once; not in the paper.
        spectral_norm: divide each weight by its spectral norm (Miyato et al., ICLR 2018); not in the paper.

    Raises:
        InputError: when ``input_size`` is too small for the number of layers.
    """

    def __init__(
        self,
        slices: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 1024, 2048),
        num_classes: int = 3,
        input_size: Sequence[int] = (256, 256),
        num_groups: int = 32,
        negative_slope: float = 0.2,
        patches: bool = False,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        factor = 2 ** len(channels)
        if min(input_size) < factor:
            least = f"at least {factor} for {len(channels)} layers"
            raise InputError(f"expected an input_size of {least} but got {tuple(input_size)}")
        self.input_size, self.patches = (input_size[0], input_size[1]), patches
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(c_in, c_out, kernel_size=3, padding=1, bias=False),
                nn.GroupNorm(largest_group_count(c_out, num_groups), c_out),
                nn.LeakyReLU(negative_slope, inplace=True),
            )
            for c_in, c_out in zip([slices, *channels[:-1]], channels, strict=True)
        )
        head: nn.Module
        if patches:
            head = nn.Conv2d(channels[-1], num_classes, kernel_size=1)
        else:
            size = (input_size[0] // factor) * (input_size[1] // factor)
            head = nn.Linear(channels[-1] * size, num_classes)
        self.head = head
        if spectral_norm:
            for module in [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
                parametrizations.spectral_norm(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - x: ``(B, slices, H, W)`` of the ``input_size``; for patches of any size
            - output: logits ``(B, num_classes)``; for patches ``(B, num_classes, H', W')``, of the last map's size

        Raises:
            InputError: for images of another size.
        """
        size = (x.shape[2], x.shape[3])
        if size != self.input_size and not self.patches:
            raise InputError(f"discriminator: expected images of input_size {self.input_size} but got {size}")
        for layer in self.layers:
            x = functional.interpolate(layer(x), scale_factor=0.5, mode="bilinear", align_corners=False)
        return self.head(x if self.patches else x.flatten(1))
