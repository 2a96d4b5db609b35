"""Tell the two domains apart with VGG16 and batch norm, whose features make the perceptual loss (paper §3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["DomainClassifier"]

_CONVS_PER_BLOCK = (2, 2, 3, 3, 3)  # configuration D of Simonyan and Zisserman, ICLR 2015


class DomainClassifier(nn.Module):
    """Classify a slice stack as source or target domain with VGG16-BN, configuration D (paper §3.2).

    Written here because torchvision has no build without CUDA for every platform. The defaults are VGG16's own widths.

    Args:
        slices, channels: of the stack, and of the five blocks.
        head_channels: widths of the hidden fully connected layers; ``()`` leaves one linear layer.
        pooled_size: side of the map that the head sees.
        num_classes: domains.
        dropout: of the hidden fully connected layers.
    """

    def __init__(
        self,
        slices: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        head_channels: Sequence[int] = (4096, 4096),
        pooled_size: int = 7,
        num_classes: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(channels) != len(_CONVS_PER_BLOCK):
            raise ValueError(f"expected {len(_CONVS_PER_BLOCK)} block widths but got {len(channels)}")
        self.blocks = nn.ModuleList()
        c_in = slices
        for c_out, convs in zip(channels, _CONVS_PER_BLOCK, strict=True):
            layers: list[nn.Module] = []
            for _ in range(convs):
                convolution = nn.Conv2d(c_in, c_out, kernel_size=3, padding=1, bias=False)
                layers += [convolution, nn.BatchNorm2d(c_out), nn.ReLU(inplace=True)]
                c_in = c_out
            self.blocks.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        head: list[nn.Module] = [nn.AdaptiveAvgPool2d(pooled_size), nn.Flatten()]
        features = channels[-1] * pooled_size**2
        for width in head_channels:
            head += [nn.Linear(features, width), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            features = width
        self.head = nn.Sequential(*head, nn.Linear(features, num_classes))

    @property
    def feature_count(self) -> int:
        """Return the number of maps that :meth:`features` can give."""
        return len(self.blocks)

    def features(self, x: torch.Tensor, count: int = 4) -> list[torch.Tensor]:
        """Return what the first ``count`` max-pools give, phi_i of Eq. 4: ``(B, C_i, H / 2**i, W / 2**i)`` each."""
        maps = []
        for block in self.blocks[:count]:
            x = block(x)
            maps.append(x)
        return maps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - x: ``(B, slices, H, W)``, H and W at least 32
            - output: logits ``(B, num_classes)``
        """
        for block in self.blocks:
            x = block(x)
        return self.head(x)
