"""Hold a generator to its input where the histograms of the two domains give no reason to change it."""

from __future__ import annotations

import torch
from torch import nn

from .perceptual import check_same_shape

__all__ = ["HistogramTie"]


class HistogramTie(nn.Module):
    """Compute ``weight * mean(k(x) |G(x) - x|)`` with ``k = min(1, p_output / p_input)`` at the input's intensity.

    Of the pixels of one intensity in the input domain, at most the share ``k`` can stay as they are if the synthetic
    images are to have the output domain's histogram: intensities that the output domain has less often, as those of
    contrast medium in a NECT, are free to change; the others are held. The histograms are the batch's own, so that
    nothing has to be kept from one iteration to the next. Not in the paper.

    Args:
        weight: of the loss.
        bins: of the histograms, over [-1, 1].
    """

    def __init__(self, weight: float = 1.0, bins: int = 64) -> None:
        super().__init__()
        self.weight = weight
        self.bins = bins

    def forward(self, synthetic: torch.Tensor, real_input: torch.Tensor, real_output: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - synthetic, real_input: ``(B, C, H, W)`` in [-1, 1]
            - real_output: ``(N, C, H, W)``
            - output: scalar

        Raises:
            ValueError: when the shapes of the first two differ.
        """
        check_same_shape(synthetic, real_input)
        places = self._bins_of(real_input)
        of_input, of_output = (
            torch.bincount(of.flatten(), minlength=self.bins) / of.numel()
            for of in (places, self._bins_of(real_output))
        )
        held = (of_output / of_input.clamp_min(torch.finfo(of_input.dtype).tiny)).clamp_max(1)
        return self.weight * (held[places] * (synthetic - real_input).abs()).mean()

    def _bins_of(self, images: torch.Tensor) -> torch.Tensor:
        return ((images.detach() + 1) / 2 * self.bins).long().clamp(0, self.bins - 1)
