"""Compute the reconstruction loss of stage 2 (paper Eqs. 3 and 5)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .perceptual import check_same_shape

__all__ = ["ReconstructionLoss"]


class ReconstructionLoss(nn.Module):
    """Compute ``lambda * L_1 + L_pcp`` (paper §3.2, Eq. 5), ``L_1`` of Eq. 3 as the mean over pixels and slices.

    Args:
        perceptual_loss: ``L_pcp`` of Eq. 4, called with ``(pred, target)``.
        l1_weight: the lambda of Eq. 5; §4.1: 10.
    """

    def __init__(self, perceptual_loss: nn.Module, l1_weight: float = 10.0) -> None:
        super().__init__()
        self.perceptual_loss = perceptual_loss
        self.l1_weight = l1_weight

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - pred, target: ``(B, C, H, W)``
            - output: scalar

        Raises:
            ValueError: when the shapes differ: nothing is broadcast.
        """
        check_same_shape(pred, target)
        return self.l1_weight * functional.l1_loss(pred, target) + self.perceptual_loss(pred, target)
