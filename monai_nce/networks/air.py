"""Convolutions of an image that is air around a body: what they make of air is known, so it is not computed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

__all__ = ["Box", "SkipAir", "body_box"]

AIR = -1.0  # what a window makes of air, and what images are padded with
STEP = 4  # pixels; a backend has to get ready for each size that comes
LEAST_SAVED = 50_000_000  # multiplications; to leave out less takes longer than to compute it


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of an image, the latter ones excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, ...]:
        """For images ``(B, C, H, W)``."""
        return slice(None), slice(None), slice(self.top, self.bottom), slice(self.left, self.right)

    def coarser(self) -> Box:
        """The same on the grid of half as many pixels."""
        return Box(self.top // 2, -(-self.bottom // 2), self.left // 2, -(-self.right // 2))

    def grown(self, margin: int, size: torch.Size) -> Box:
        """More by ``margin`` to each side, as far as an image of this height and width goes."""
        return Box(
            max(self.top - margin, 0),
            min(self.bottom + margin, size[0]),
            max(self.left - margin, 0),
            min(self.right + margin, size[1]),
        )

    def shrunk(self, margin: int, size: torch.Size) -> Box:
        """Less by ``margin`` along each side that is no edge of the image."""
        return Box(
            self.top + margin * (self.top > 0),
            self.bottom - margin * (self.bottom < size[0]),
            self.left + margin * (self.left > 0),
            self.right - margin * (self.right < size[1]),
        )

    def within(self, other: Box) -> Box:
        """The same in an image that was cut out along ``other``."""
        return Box(self.top - other.top, self.bottom - other.top, self.left - other.left, self.right - other.left)

    def pixels(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


def body_box(images: torch.Tensor) -> Box:
    """A box outside of which all images are air, not empty, with corners on every ``STEP``-th pixel or the edge.

    Shape:
        - images: ``(B, C, H, W)``
    """
    seen = (images != AIR).flatten(0, 1).any(dim=0)
    corners = []
    for axis in (0, 1):
        used = seen.any(dim=1 - axis).nonzero().flatten().tolist() or [0]
        corners += [used[0] // STEP * STEP, min(-(-(used[-1] + 1) // STEP) * STEP, seen.shape[axis])]
    return Box(*corners)


class SkipAir(nn.Module):
    """Convolutions that keep the size, one after the other, computed near the body alone.

    What they make of nothing but air is computed once for a size of the images.

    Args:
        layers: of 2 n + 1 by 2 n + 1 pixels, padded by n zeros.
        air: ``(C,)``, a pixel of air as they get it.
        parts: that the channels of the output are split into.

    Shape:
        - guide: ``(B, C, H, W)``
        - each part of the output: ``(B, out_channels / parts, H, W)``
    """

    air: torch.Tensor

    def __init__(self, *layers: nn.Conv2d, air: torch.Tensor, parts: int = 1) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.margins = [layer.kernel_size[0] // 2 for layer in layers]  # what an output pixel sees to each side
        self.multiplications = sum(layer.weight.numel() for layer in layers)  # for a pixel
        self.register_buffer("air", air[:, None, None].clone())
        self.parts = parts
        self.known: tuple[torch.Size, list[torch.Tensor]] = torch.Size(), []

    def forward(self, guide: torch.Tensor, body: Box | None = None) -> Sequence[torch.Tensor]:
        """
        Args:
            guide: input of the layers.
            body: outside of which the guide is air; None computes everything.

        Returns:
            The parts, in the layers' format, or in float32 where that is shorter and air was left out.
        """
        size = guide.shape[2:]
        if body is None:
            return self.layers(guide).chunk(self.parts, dim=1)
        # what sees the body, and what that sees in turn
        box = body.grown(2 * sum(self.margins), size)
        if (size.numel() - box.pixels()) * len(guide) * self.multiplications < LEAST_SAVED:
            return self.layers(guide).chunk(self.parts, dim=1)
        near = guide[box.slices]
        for layer, margin in zip(self.layers, self.margins, strict=True):
            near = layer(near.contiguous(memory_format=torch.channels_last))
            right = box.shrunk(margin, size)  # along a cut the layer has seen zeros instead of what is there
            near, box = near[right.within(box).slices], right
        parts = [
            part.expand(len(guide), -1, -1, -1).clone(memory_format=torch.channels_last) for part in self.of_air(size)
        ]
        for part, part_near in zip(parts, near.chunk(self.parts, dim=1), strict=True):
            part[box.slices] = part_near
        return parts

    def of_air(self, size: torch.Size) -> list[torch.Tensor]:
        """The parts of what the layers make of an image of air, ``(1, out_channels / parts, H, W)`` each."""
        known, parts = self.known  # together, as other threads may be at it
        if known != size:
            result = self.layers(self.air.expand(1, -1, *size).contiguous(memory_format=torch.channels_last))
            result = result.to(torch.promote_types(result.dtype, torch.float32))
            parts = [part.contiguous(memory_format=torch.channels_last) for part in result.chunk(self.parts, dim=1)]
            self.known = size, parts
        return parts
