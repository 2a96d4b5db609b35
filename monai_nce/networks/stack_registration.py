"""Register slice stacks: the displacement of each voxel of a stack, into a thicker one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from monai.networks.blocks import Warp
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn import functional

from monai_nce.errors import InputError

__all__ = ["StackRegistration"]


class StackRegistration(nn.Module):
    """Find where each voxel of a fixed slice stack lies in a moving one, and resample the moving one there.

    As MONAI's ``VoxelMorph``, a U-Net that sees both gives the displacement at once, and ``Warp`` applies it. Here the
    U-Net is one of two dimensions with slices as channels, and the displacement has three components for each voxel,
    because breathing moves organs along the body: the moving stack is thicker, so that they can be found in it.

    The last layer starts at zero, so that training starts from the identity.

    Args:
        slices: of the fixed stack, odd, at least 3.
        moving_slices: of the moving stack, odd, at least as many; both have the same middle.
        channels: of the U-Net, six numbers, see :class:`monai.networks.nets.BasicUNet`.

    Raises:
        InputError: for numbers of slices that cannot be.
    """

    def __init__(
        self, slices: int = 3, moving_slices: int = 9, channels: Sequence[int] = (16, 16, 32, 32, 64, 16)
    ) -> None:
        super().__init__()
        if slices < 3 or not slices % 2 == moving_slices % 2 == 1 or moving_slices < slices:
            raise InputError(
                "registration: expected odd numbers of slices, 3 or more of them fixed and at least as many moving, "
                f"but got {slices} and {moving_slices}"
            )
        self.slices = slices
        self.moving_slices = moving_slices
        self.channels = tuple(channels)
        self.unet = BasicUNet(2, slices + moving_slices, 3 * slices, features=self.channels)
        nn.init.zeros_(self.unet.final_conv.weight)
        nn.init.zeros_(self.unet.final_conv.bias)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it computes by PyTorch
            self.warp = Warp(padding_mode="border")

    @property
    def beyond(self) -> int:
        """Return the slices that the moving stack has beyond the fixed one, on each side."""
        return (self.moving_slices - self.slices) // 2

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Returns:
            The moving stack on the fixed one, and the displacement in voxels along rows, columns and slices: the voxel
            at p of the fixed stack lies at p + displacement in the moving one.

        Shape:
            - moving: ``(B, moving_slices, H, W)``
            - fixed, first output: ``(B, slices, H, W)``
            - second output: ``(B, 3, H, W, slices)``
        """
        found = self.unet(torch.cat([moving, fixed], dim=1)).float()
        displacement = found.unflatten(1, (3, self.slices)).permute(0, 1, 3, 4, 2)
        # Warp wants both of one size; what comes out for the slices beyond is cut off
        whole = self.warp(moving.float().permute(0, 2, 3, 1)[:, None], functional.pad(displacement, [self.beyond] * 2))
        moved = whole[:, 0, :, :, self.beyond : self.beyond + self.slices].permute(0, 3, 1, 2)
        return moved.contiguous(memory_format=torch.channels_last), displacement
