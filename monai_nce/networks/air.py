"""Convolutions of an image that is air around a body: what they make of air is known, so it is not computed again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Box", "SkipAir", "body_box"]

AIR = -1.0  # what a window makes of air, and what images are padded with
STEP = 4  # pixels; a backend has to get ready for each size that comes
LEAST_SAVED = 50_000_000  # multiplications; to leave out less takes longer than to compute it
LEAST_SAVED_INSIDE = 40_000_000  # likewise, in one image; what is left along its edges comes in small, slow pieces

Index = tuple[slice, ...]


class Box(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of an image, the latter ones excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> Index:
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

    def within(self, margin: int, size: torch.Size) -> Box:
        """The part that is by ``margin`` away from all edges of an image of this height and width."""
        top, left = max(self.top, margin), max(self.left, margin)
        return Box(
            top, max(min(self.bottom, size[0] - margin), top), left, max(min(self.right, size[1] - margin), left)
        )

    def missing(self, margin: int, size: torch.Size) -> tuple[int, int, int, int]:
        """By how much ``grown`` is short of the margin: left, right, top, bottom, as padding is given."""
        return (
            max(margin - self.left, 0),
            max(self.right + margin - size[1], 0),
            max(margin - self.top, 0),
            max(self.bottom + margin - size[0], 0),
        )

    def less(self, inner: Box) -> list[Box]:
        """The rest of this one around one inside it, in up to four boxes."""
        boxes = [
            Box(self.top, inner.top, self.left, self.right),
            Box(inner.bottom, self.bottom, self.left, self.right),
            Box(inner.top, inner.bottom, self.left, inner.left),
            Box(inner.top, inner.bottom, inner.right, self.right),
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
        air: ``(C,)``, a pixel of air as they get it, in their format.
        inside: computes all layers at once for one image, unpadded, in about three quarters of the time; its input may
            be in a finer format.

    Shape:
        - guide: ``(B, C, H, W)``
        - output: ``(B, out_channels, H, W)``, in parts
    """

    air: torch.Tensor

    def __init__(self, *layers: nn.Module, air: torch.Tensor, inside: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.inside = inside
        weights = [layer.get_parameter("weight") for layer in layers]
        self.margins = [weight.shape[-1] // 2 for weight in weights]  # what an output pixel sees to each side
        self.multiplications = sum(weight.numel() for weight in weights)  # for a pixel
        self.register_buffer("air", air[:, None, None].clone())
        self._of_air: tuple[torch.Size, torch.Tensor] | None = None

    def forward(self, guide: torch.Tensor, body: Box | None = None) -> Iterator[tuple[Index, torch.Tensor]]:
        """
        Args:
            guide: input of the layers.
            body: outside of which the guide is air; None computes everything by the layers.

        Yields:
            Where in the output, all of which is yielded in parts, and what is there; that of air for a batch of one.
        """
        size, margin = guide.shape[2:], sum(self.margins)
        whole = Box(0, size[0], 0, size[1])
        near = whole if body is None else body.grown(margin, size)  # what sees the body
        if len(guide) * (whole.pixels() - near.pixels()) * self.multiplications < LEAST_SAVED:
            near = whole
        inner = near.within(margin, size)
        if self.inside is not None and body is not None and self._inside_pays(size):
            seen = guide[inner.grown(margin, size).slices].contiguous(memory_format=torch.channels_last)
            for i in range(len(seen)):  # one by one: so what lies between stays in the cache
                yield (slice(i, i + 1), *inner.slices[1:]), self.inside(seen[i : i + 1])
            for box in near.less(inner):
                yield box.slices, self._computed(guide, box)
        elif near == whole:
            yield (slice(None),), self.layers(guide.to(self.air.dtype))
        else:
            yield near.slices, self._computed(guide, near)
        if near != whole:
            air = self.of_air(size)
            for box in whole.less(near):
                yield box.slices, air[box.slices]

    def _inside_pays(self, size: torch.Size) -> bool:
        """Whether it does for an image of this height and width, so that a result does not depend on other images."""
        inner = Box(0, size[0], 0, size[1]).within(sum(self.margins), size)
        return inner.pixels() / 4 * self.multiplications >= LEAST_SAVED_INSIDE

    def _computed(self, guide: torch.Tensor, box: Box) -> torch.Tensor:
        """The output in a box by the layers."""
        size = guide.shape[2:]
        seen = [box]  # by the output, and before it by each layer
        for margin in reversed(self.margins):
            seen.insert(0, seen[0].grown(margin, size))
        y = guide[seen[0].slices].to(self.air.dtype).contiguous(memory_format=torch.channels_last)
        for layer, margin, part in zip(self.layers, self.margins, seen[1:], strict=True):
            beyond = part.missing(margin, size)  # of the image's edges, where there are zeros
            y = layer(functional.pad(y, beyond) if any(beyond) else y, padded=False)
        return y

    def of_air(self, size: torch.Size) -> torch.Tensor:
        """What comes of an image of air, ``(1, out_channels, H, W)``, in float32 where that is longer.

        Each pixel is computed as it would be near a body, so that it is the same whether that is near or not.
        """
        known = self._of_air
        if known is None or known[0] != size:
            guide = self.air.expand(1, -1, *size).contiguous(memory_format=torch.channels_last)
            result = self.layers(guide)
            result = result.to(torch.promote_types(result.dtype, torch.float32))
            if self.inside is not None and self._inside_pays(size):
                inner = Box(0, size[0], 0, size[1]).within(sum(self.margins), size)
                result[inner.slices] = self.inside(guide.float())
            self._of_air = known = size, result
        return known[1]
