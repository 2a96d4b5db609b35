"""Train the target network and a registration of real to synthetic sources together (paper §5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from .registered_trainer import RegisteredTrainer

__all__ = ["JointRegistrationTrainer"]


class JointRegistrationTrainer(RegisteredTrainer):
    """Train a registration network beside the target network, which learns from what it registers (paper §5).

    One iteration: the frozen auxiliary network makes the synthetic source, the registration network moves the real one
    onto it, and :class:`RegisteredTrainer`'s loss plus the registration's own is minimised over both networks in one
    step. With ``joint_gradient`` Eq. 5 on the real pair reaches the registration network too: where the synthetic
    source is wrong, the target itself says how the real one lies. Nothing reaches the auxiliary network.

    ``engine.state.output`` has ``registration_loss`` besides.

    Args:
        registration: called with real and synthetic sources; gives the moved source ``(B, C, H, W)`` and the
            displacement ``(B, 3, H, W, C)`` in voxels, as :class:`monai_nce.networks.StackRegistration`.
        registration_optimizer: over its parameters.
        registration_loss: called with moved and synthetic sources and the displacement.
        mask: tells where a registration counts, as :class:`monai_nce.transforms.RegistrationMask`.
        joint_gradient: whether Eq. 5 reaches the registration network.
        args, kwargs: as in :class:`RegisteredTrainer`; real sources may have more slices than synthetic ones, with the
            same one in the middle.
    """

    def __init__(
        self,
        *args: Any,
        registration: nn.Module,
        registration_optimizer: Optimizer,
        registration_loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
        mask: Callable[..., torch.Tensor],
        joint_gradient: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.registration = registration
        self.optimizers.append(registration_optimizer)
        self.registration_loss = registration_loss
        self.mask = mask
        self.joint_gradient = joint_gradient

    def _real(
        self, batchdata: Mapping[str, torch.Tensor], synthetic: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        (moving,) = self._images(batchdata, self.source_key)
        self.registration.train()
        with self.precision.autocast():
            moved, displacement = self.registration(moving, synthetic)
        losses = {"registration_loss": self.registration_loss(moved, synthetic, displacement)}
        mask = self._mask(moving, moved, synthetic, displacement)
        return moved if self.joint_gradient else moved.detach(), mask, losses

    @torch.no_grad()
    def _mask(
        self, moving: torch.Tensor, moved: torch.Tensor, synthetic: torch.Tensor, displacement: torch.Tensor
    ) -> torch.Tensor:
        """Tell where the moved stack counts, as 1 and 0, ``(B, C, H, W)``."""
        size = displacement.shape[2:]
        axes = [torch.arange(n, device=moved.device, dtype=displacement.dtype) for n in size]
        axes[2] += (moving.shape[1] - size[2]) // 2  # slices of the moving stack before the fixed one's first
        points = torch.stack(torch.meshgrid(*axes, indexing="ij")) + displacement
        volumes = [stack.permute(0, 2, 3, 1)[:, None] for stack in (moved, synthetic)]
        counts = self.mask(points, *volumes, moving_size=(*size[:2], moving.shape[1]))
        return counts[:, 0].permute(0, 3, 1, 2).to(moved.dtype)
