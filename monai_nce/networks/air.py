"""Convolutions of an image that is air around a body: what they make of air is known, so it is not computed again."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

__all__ = ["Box", "SkipAir", "body_box"]

AIR = -1.0  # what a window makes of air, and what images are padded with
STEP = 8  # pixels; few sizes, as a backend has to get ready for each
LARGEST = 0.9  # part of an image above which leaving out the rest saves nothing


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right``, the latter ones excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def coarser(self) -> Box:
        """The same on the grid of half as many pixels."""
        return Box(self.top // 2, -(-self.bottom // 2), self.left // 2, -(-self.right // 2))


def body_box(images: torch.Tensor) -> Box:
    """The smallest box outside of which all images are air; of one pixel where they are nothing else.

    Shape:
        - images: ``(B, C, H, W)``
    """
    seen = (images != AIR).flatten(0, 1).any(dim=0)
    first_and_end = []
    for axis in (1, 0):
        used = seen.any(dim=axis).nonzero().flatten().tolist() or [0]
        first_and_end += [used[0], used[-1] + 1]
    return Box(*first_and_end)


class SkipAir(nn.Module):
    """Convolutions that keep the size, one after the other, computed near the body alone.

    What they make of nothing but air is computed once for a size of the images.

    Args:
        layers: of 2 n + 1 by 2 n + 1 pixels, padded by n zeros.
        air: ``(C,)``, a pixel of air as they get it.

    Shape:
        - guide: ``(B, C, H, W)``
        - output: ``(B, out_channels, H, W)``
    """

    air: torch.Tensor

    def __init__(self, *layers: nn.Conv2d, air: torch.Tensor) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.margin = sum(layer.kernel_size[0] // 2 for layer in layers)  # to each side, what an output pixel sees
        self.register_buffer("air", air[:, None, None].clone())
        self.of_air: tuple[torch.Size, torch.Tensor] = torch.Size(), torch.empty(0)

    def forward(self, guide: torch.Tensor, body: Box | None = None) -> torch.Tensor:
        """
        Args:
            guide: input of the layers.
            body: outside of which the guide is air; None computes everything.
        """
        size = guide.shape[2:]
        if body is None:
            return self.layers(guide)
        rows, columns = self._near(body.top, body.bottom, size[0]), self._near(body.left, body.right, size[1])
        if len(rows) * len(columns) > LARGEST * size.numel():
            return self.layers(guide)
        part = guide[:, :, rows.start : rows.stop, columns.start : columns.stop]
        near = self.layers(part.contiguous(memory_format=torch.channels_last))
        y, x = self._right(rows, size[0]), self._right(columns, size[1])
        output = self._of_air(size).expand(len(guide), -1, -1, -1).clone(memory_format=torch.channels_last)
        output[:, :, y.start : y.stop, x.start : x.stop] = near[
            :, :, y.start - rows.start : y.stop - rows.start, x.start - columns.start : x.stop - columns.start
        ]
        return output

    def _of_air(self, size: torch.Size) -> torch.Tensor:
        """What the layers make of an image of air, ``(1, out_channels, H, W)``."""
        known, result = self.of_air  # together, as other threads may be at it
        if known != size:
            result = self.layers(self.air.expand(1, -1, *size).contiguous(memory_format=torch.channels_last))
            self.of_air = size, result
        return result

    def _near(self, first: int, end: int, size: int) -> range:
        """What is computed along an axis: all that sees the body, and around it what these pixels need."""
        first, end = max(first - 2 * self.margin, 0), min(end + 2 * self.margin, size)
        length = min(-(-(end - first) // STEP) * STEP, size)
        first = min(first, size - length)
        return range(first, first + length)

    def _right(self, computed: range, size: int) -> range:
        """Where that is right: not along a cut, where zeros were seen instead of air."""
        return range(
            computed.start + self.margin * (computed.start > 0), computed.stop - self.margin * (computed.stop < size)
        )
