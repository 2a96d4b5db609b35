"""Compute the loss of a registration network: images alike, displacement smooth."""

from __future__ import annotations

import torch
from monai.losses import DiffusionLoss
from torch import nn

from .perceptual import check_same_shape

__all__ = ["RegistrationLoss"]


class RegistrationLoss(nn.Module):
    """Compute ``similarity_weight * similarity(moved, fixed) + smoothness_weight * smoothness(displacement)``.

    Args:
        similarity: called with both images; their mean absolute difference if None, which suits images of one contrast
            with what some regions cannot match.
        smoothness: called with the displacement in voxels; its squared gradient if None. MONAI's ``BendingEnergyLoss``
            punishes curvature and lets affine maps pass.
        similarity_weight: 10 is the lambda of Eq. 5, so that both losses weigh a difference of images alike.
        smoothness_weight: weight of the smoothness beside it.
    """

    def __init__(
        self,
        similarity: nn.Module | None = None,
        smoothness: nn.Module | None = None,
        similarity_weight: float = 10.0,
        smoothness_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.similarity = nn.L1Loss() if similarity is None else similarity
        self.smoothness = DiffusionLoss() if smoothness is None else smoothness
        self.similarity_weight = similarity_weight
        self.smoothness_weight = smoothness_weight

    def forward(self, moved: torch.Tensor, fixed: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - moved, fixed: ``(B, C, H, W)``
            - displacement: ``(B, 3, H, W, C)``
            - output: scalar

        Raises:
            ValueError: when the images' shapes differ.
        """
        check_same_shape(moved, fixed)
        alike, smooth = self.similarity(moved, fixed), self.smoothness(displacement)
        return self.similarity_weight * alike + self.smoothness_weight * smooth
