"""Convolutions of an image that is air around a body: what they make of air is known, so it is not computed again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Box", "SkipAir", "body_boxes", "box_around"]

AIR = -1.0  # what a window makes of air, and what images are padded with
STEP = 4  # pixels; a backend has to get ready for each size that comes
LEAST_SAVED = 50_000_000  # multiplications; to leave out less takes longer than to compute it
LEAST_SAVED_INSIDE = 20_000_000  # likewise, in one image

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


def body_boxes(images: torch.Tensor) -> list[Box]:
    """For each image a box outside of which it is air, with corners on every ``STEP``-th pixel or the edge.

    Shape:
        - images: ``(B, C, H, W)``
    """
    seen = (images != AIR).any(dim=1)
    corners = []
    for axis in (1, 2):
        size = seen.shape[axis]
        used = [line.nonzero().flatten().tolist() or [0, -1] for line in seen.any(dim=3 - axis)]
        corners.append([(u[0] // STEP * STEP, min(-(-(u[-1] + 1) // STEP) * STEP, size)) for u in used])
    return [Box(*rows, *columns) for rows, columns in zip(*corners, strict=True)]


def box_around(boxes: Sequence[Box]) -> Box:
    """The box that all of them lie in; empty ones do not count."""
    tops, bottoms, lefts, rights = zip(*([box for box in boxes if box.pixels()] or boxes), strict=True)
    return Box(min(tops), max(bottoms), min(lefts), max(rights))


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

    def forward(self, guide: torch.Tensor, bodies: Sequence[Box] | None = None) -> Iterator[tuple[Index, torch.Tensor]]:
        """
        Args:
            guide: input of the layers.
            bodies: outside of which the images are air; None computes everything by the layers.

        Yields:
            Where in the output, all of which is yielded in parts, and what is there; that of air for a batch of one.
        """
        size = guide.shape[2:]
        whole = Box(0, size[0], 0, size[1])
        if bodies is None:
            yield (slice(None),), self.layers(guide.to(self.air.dtype))
        elif self.inside is not None and self._inside_pays(whole, size):
            # one by one: what lies between the layers stays in the cache, and no image depends on the others
            for i, body in enumerate(bodies):
                for where, part in self._parts(guide[i : i + 1], body, self.inside):
                    yield (slice(i, i + 1), *where[1:]), part
        else:
            yield from self._parts(guide, box_around(bodies), None)

    def _parts(self, guide: torch.Tensor, body: Box, inside: nn.Module | None) -> Iterator[tuple[Index, torch.Tensor]]:
        size, margin = guide.shape[2:], sum(self.margins)
        whole = Box(0, size[0], 0, size[1])
        near = body.grown(margin, size)  # what sees the body
        if len(guide) * (whole.pixels() - near.pixels()) * self.multiplications < LEAST_SAVED:
            near = whole
        if inside is not None and self._inside_pays(near, size):
            inner = near.within(margin, size)
            seen = guide[inner.grown(margin, size).slices].contiguous(memory_format=torch.channels_last)
            yield inner.slices, inside(seen)
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

    def _inside_pays(self, near: Box, size: torch.Size) -> bool:
        """Whether it does for one image; what is left along its edges comes in small pieces, which take longer."""
        inner = near.within(sum(self.margins), size)
        saved = inner.pixels() / 4 - (near.pixels() - inner.pixels())
        return saved * self.multiplications >= LEAST_SAVED_INSIDE

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
        """What the layers make of an image of air, ``(1, out_channels, H, W)``, in float32 where that is longer."""
        known = self._of_air
        if known is None or known[0] != size:
            result = self.layers(self.air.expand(1, -1, *size).contiguous(memory_format=torch.channels_last))
            self._of_air = known = size, result.to(torch.promote_types(result.dtype, torch.float32))
        return known[1]
