"""Convolutions of an image that is air around a body: what they make of air is known, so it is not computed again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

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

    def missing(self, margin: int, size: torch.Size) -> tuple[int, int, int, int]:
        """By how much ``grown`` is short of the margin: left, right, top, bottom, as padding is given."""
        return (
            max(margin - self.left, 0),
            max(self.right + margin - size[1], 0),
            max(margin - self.top, 0),
            max(self.bottom + margin - size[0], 0),
        )

    def around(self, size: torch.Size) -> list[Box]:
        """The rest of an image of this height and width, in up to four boxes."""
        boxes = [
            Box(0, self.top, 0, size[1]),
            Box(self.bottom, size[0], 0, size[1]),
            Box(self.top, self.bottom, 0, self.left),
            Box(self.top, self.bottom, self.right, size[1]),
        ]
        return [box for box in boxes if box.pixels()]

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
        layers: of 2 n + 1 by 2 n + 1 pixels, padded by n zeros, or unpadded by ``layer(x, padded=False)``.
        air: ``(C,)``, a pixel of air as they get it.

    Shape:
        - guide: ``(B, C, H, W)``
        - output: ``(B, out_channels, H, W)``, in parts
    """

    air: torch.Tensor

    def __init__(self, *layers: nn.Module, air: torch.Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        weights = [layer.get_parameter("weight") for layer in layers]
        self.margins = [weight.shape[-1] // 2 for weight in weights]  # what an output pixel sees to each side
        self.multiplications = sum(weight.numel() for weight in weights)  # for a pixel
        self.register_buffer("air", air[:, None, None].clone())
        self.of_air = lru_cache(1)(self._of_air)

    def forward(self, guide: torch.Tensor, body: Box | None = None) -> Iterator[tuple[Box | None, torch.Tensor]]:
        """
        Args:
            guide: input of the layers.
            body: outside of which the guide is air; None computes everything.

        Yields:
            Boxes that make up the image, None for all of it, and the output there; that of air for a batch of one.
        """
        size = guide.shape[2:]
        boxes = [] if body is None else self._boxes(body, size)
        if not boxes or (size.numel() - boxes[0].pixels()) * len(guide) * self.multiplications < LEAST_SAVED:
            yield None, self.layers(guide)
            return
        near = guide[boxes[0].slices].contiguous(memory_format=torch.channels_last)
        for layer, margin, box in zip(self.layers, self.margins, boxes[1:], strict=True):
            beyond = box.missing(margin, size)  # of the image's edges, where there are zeros
            near = layer(functional.pad(near, beyond) if any(beyond) else near, padded=False)
        yield boxes[-1], near
        air = self.of_air(size)
        for box in boxes[-1].around(size):
            yield box, air[box.slices]

    def _boxes(self, body: Box, size: torch.Size) -> list[Box]:
        """The part of the guide that is needed, and then that of each layer's output."""
        boxes = [body.grown(sum(self.margins), size)]  # what sees the body
        for margin in reversed(self.margins):
            boxes.insert(0, boxes[0].grown(margin, size))  # what that sees in turn
        return boxes

    def _of_air(self, size: torch.Size) -> torch.Tensor:
        """What the layers make of an image of air, ``(1, out_channels, H, W)``, in float32 where that is longer."""
        result = self.layers(self.air.expand(1, -1, *size).contiguous(memory_format=torch.channels_last))
        return result.to(torch.promote_types(result.dtype, torch.float32))
