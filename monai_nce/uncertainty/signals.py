"""Measure what may tell where a synthetic image is wrong, without knowing the truth."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from monai_nce.errors import InputError
from monai_nce.inferers import Runtime, SliceStackInferer

__all__ = ["SIGNALS", "SPREADS", "Signals", "around"]

SIZE = 5  # pixels of a side over which a signal is averaged in plane
SHIFT = (3, 5)  # pixels; no multiple of what the network's levels halve
IMAGES = ("scan", "synthetic", "change")
SPREADS = ("cycle", "overlap", "moved")  # that may be large where the image is wrong
SIGNALS = (*IMAGES, *SPREADS, *(f"{name}_around" for name in SPREADS), "texture")


class Signals:
    """Enhance volumes and measure, voxel by voxel in the unit of the window, what may tell where that went wrong.

    - ``scan``, ``synthetic``, ``change``: x, T(x) and T(x) - x, T being the network.
    - ``cycle``: |A(T(x)) - x|, A being the auxiliary network, which takes the contrast medium away again.
    - ``overlap``: standard deviation of the predictions that a slice gets as the first, second and third of a stack.
    - ``moved``: standard deviation of T(x) and of what T makes of x mirrored and of x shifted, brought back.
    - ``cycle_around``, ``overlap_around``, ``moved_around``: means of these over 5 × 5 pixels.
    - ``texture``: standard deviation of x over 5 × 5 pixels.

    Args:
        inferer: runs the network; with ``spread``.
        auxiliary: the network that goes back, in evaluation mode, on the volumes' device.
        window_width: of intensities of [-1, 1].
        runtime: what computes the passes of the auxiliary network; None calls it as it is.

    Raises:
        InputError: for an inferer without ``spread``.
    """

    def __init__(
        self,
        inferer: SliceStackInferer,
        auxiliary: nn.Module,
        window_width: float = 300.0,
        runtime: Runtime | None = None,
    ) -> None:
        if not inferer.spread:
            raise InputError("inferer: expected one that gives the spread of overlapping predictions")
        self.inferer = inferer
        self.auxiliary = auxiliary
        self.half = window_width / 2
        self._once = copy.copy(inferer)  # a third of the passes
        self._once.spread, self._once.stride, self._once.progress = False, inferer.slices, False
        self._back = copy.copy(self._once)
        self._back.runtime, self._back.condition = runtime, None

    def __call__(self, volume: torch.Tensor, network: Callable[..., torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            volume: scans in [-1, 1].
            network: target network, as in :class:`~monai_nce.inferers.SliceStackInferer`.

        Shape:
            - volume, and the prediction in [-1, 1], the first output: ``(B, 1, H, W, D)``
            - the second output: ``(B, 10, H, W, D)``, in the order of ``SIGNALS``
        """
        made, overlap = self.inferer(volume, network).split(1, dim=1)
        mirrored = self._once(volume.flip(2), network).flip(2)
        there, back = SHIFT, tuple(-pixels for pixels in SHIFT)
        shifted = self._once(volume.roll(there, (2, 3)), network).roll(back, (2, 3))
        moved = torch.cat([made, mirrored, shifted], dim=1).std(dim=1, keepdim=True, correction=0)
        cycle = (self._back(made.clamp(-1, 1), self.auxiliary) - volume).abs()
        spreads = torch.cat([cycle, overlap, moved], dim=1)
        mean, squares = around(volume), around(volume.square())
        texture = (squares - mean.square()).clamp(min=0).sqrt()
        found = torch.cat([volume, made, made - volume, spreads, around(spreads), texture], dim=1)
        return made, found * self.half


def around(volume: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    """Average over ``size`` × ``size`` pixels of each slice, fewer at the rim; ``(B, C, H, W, D)`` in and out."""
    batch, channels, height, width, depth = volume.shape
    slices = volume.permute(0, 4, 1, 2, 3).reshape(batch * depth, channels, height, width)
    means = functional.avg_pool2d(slices, size, 1, size // 2, count_include_pad=False)
    return means.reshape(batch, depth, channels, height, width).permute(0, 2, 3, 4, 1)
