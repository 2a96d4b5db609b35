"""Tell where a registration can be right: where nothing folds, comes from nowhere, or differs by too much."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["RegistrationMask"]


class RegistrationMask:
    """Mask the voxels in which a moved image counts as aligned with a fixed one of the same contrast.

    Left out are voxels where the map folds (its Jacobian determinant is 0 or less: what lay on the right now lies on
    the left), what comes from half a voxel or more beyond the moving image, and what differs from the fixed image by
    more than the threshold. A residual also comes from what the fixed image has wrong where it is synthetic, so a tight
    threshold hides just the errors that a real image could mend.

    Args:
        largest_residual: that is taken for noise, on the scale of the images; of images in [-1, 1] that show a window
            of 300 HU, 0.4 is 60 HU.
    """

    def __init__(self, largest_residual: float = 0.4) -> None:
        self.largest_residual = largest_residual

    def __call__(
        self, points: torch.Tensor, moved: torch.Tensor, fixed: torch.Tensor, moving_size: Sequence[int] | None = None
    ) -> torch.Tensor:
        """
        Args:
            points: where each voxel comes from, in voxels of the moving image, along its three axes.
            moved: the moving image, resampled at these points.
            fixed: what it was registered to.
            moving_size: voxels of the moving image along each axis; those of the fixed one if None.

        Shape:
            - points: ``(B, 3, H, W, D)``
            - moved, fixed: ``(B, 1, H, W, D)``
            - output: ``(B, 1, H, W, D)``, bool
        """
        size = points.new_tensor(points.shape[2:] if moving_size is None else moving_size).view(1, 3, 1, 1, 1)
        within = ((points > -0.5) & (points < size - 0.5)).all(dim=1, keepdim=True)
        along_h, along_w, along_d = (_derivative(points, axis) for axis in range(3))
        determinant = (torch.linalg.cross(along_h, along_w, dim=1) * along_d).sum(dim=1, keepdim=True)
        return within & (determinant > 0) & ((moved - fixed).abs() <= self.largest_residual)


def _derivative(points: torch.Tensor, axis: int) -> torch.Tensor:
    if points.shape[2 + axis] > 1:
        return torch.gradient(points, dim=2 + axis)[0]
    return torch.eye(3).to(points)[axis].view(1, 3, 1, 1, 1).expand_as(points)  # a single slice: as if nothing moved it
