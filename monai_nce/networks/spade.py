"""Normalise features with scales and shifts computed from the input: SPADE (paper Fig. 4b and 4c)."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["SPADE", "SPADEResidualBlock", "largest_group_count"]


def largest_group_count(channels: int, limit: int = 32) -> int:
    """Return the largest number of groups, at most ``limit``, that divides ``channels``."""
    if channels < 1 or limit < 1:
        raise ValueError(f"expected channels and limit of at least 1 but got {channels} and {limit}")
    return next(groups for groups in range(min(limit, channels), 0, -1) if channels % groups == 0)


class SPADE(nn.Module):
    """Normalise by groups, with scale and shift images that are computed from a guide (paper Fig. 4c).

    ``y = GroupNorm(x) * (1 + gamma(guide)) + beta(guide)``, after Park et al., "Semantic Image Synthesis with
    Spatially-Adaptive Normalization", CVPR 2019. Gamma and beta come out of one convolution, with no norm behind it:
    normalising them would erase their means.

    Args:
        channels, guide_channels: of the features to normalise, and of the guide, here the input slice stack.
        hidden_channels: width of the layer between the guide and gamma and beta.
        num_groups: groups of the normalisation; the largest divisor of ``channels`` up to it is taken.
        negative_slope: of the leaky ReLU.
    """

    def __init__(
        self,
        channels: int,
        guide_channels: int = 3,
        hidden_channels: int = 128,
        num_groups: int = 32,
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(largest_group_count(channels, num_groups), channels, affine=False)
        self.hidden = nn.Sequential(
            nn.Conv2d(guide_channels, hidden_channels, kernel_size=3, padding=1),
            nn.LeakyReLU(negative_slope, inplace=True),
        )
        self.gamma_beta = nn.Conv2d(hidden_channels, 2 * channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - x: ``(B, C, H, W)``
            - guide: ``(B, guide_channels, H, W)``
            - output: ``(B, C, H, W)``
        """
        gamma, beta = torch.chunk(self.gamma_beta(self.hidden(guide)), 2, dim=1)
        return torch.addcmul(beta, self.norm(x), 1 + gamma)


class SPADEResidualBlock(nn.Module):
    """Apply convolution, SPADE and leaky ReLU twice, with a shortcut around them (paper §3.3, Fig. 4b).

    The norm follows the convolution: after concatenation the inputs have 515, 259, ... channels, which no group count
    divides. The shortcut is a 1x1 convolution where the channels differ, else the identity.

    Args:
        in_channels, out_channels: of the features.
        guide_channels, hidden_channels, num_groups, negative_slope: as in :class:`SPADE`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        guide_channels: int = 3,
        hidden_channels: int = 128,
        num_groups: int = 32,
        negative_slope: float = 0.2,
    ) -> None:
        super().__init__()
        spade_args = (out_channels, guide_channels, hidden_channels, num_groups, negative_slope)
        # no bias: the group norm that follows takes the mean out again
        self.conv_1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.spade_1 = SPADE(*spade_args)
        self.conv_2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.spade_2 = SPADE(*spade_args)
        self.activation = nn.LeakyReLU(negative_slope, inplace=True)
        self.shortcut: nn.Module = (
            nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, kernel_size=1)
        )

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - x: ``(B, in_channels, H, W)``
            - guide: ``(B, guide_channels, H, W)``
            - output: ``(B, out_channels, H, W)``
        """
        y = self.activation(self.spade_1(self.conv_1(x), guide))
        y = self.activation(self.spade_2(self.conv_2(y), guide))
        return y + self.shortcut(x)
