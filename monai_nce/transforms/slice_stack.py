"""Stacks of consecutive slices, the unit that the networks take and give (paper §3.3; decision 18)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import convert_to_tensor

__all__ = ["SliceStack", "SliceStackd", "merge_slice_stacks", "slice_stacks", "stack_positions"]


def stack_positions(position: int, depth: int, slices: int = 3) -> list[int]:
    """Indices of the ``slices`` consecutive slices centred on ``position`` in a volume of ``depth``; edges replicate.

    >>> stack_positions(0, depth=10)
    [0, 0, 1]
    """
    if slices < 1 or slices % 2 == 0:
        raise ValueError(f"expected an odd number of slices but got {slices}")
    if not 0 <= position < depth:
        raise ValueError(f"expected a position in 0...{depth - 1} but got {position}")
    reach = slices // 2
    return [min(max(position + offset, 0), depth - 1) for offset in range(-reach, reach + 1)]


def slice_stacks(volume: torch.Tensor, slices: int = 3) -> torch.Tensor:
    """Every stack of a volume, one centred on each slice (stride 1), edges replicated.

    Shape:
        - volume: ``(1, H, W, D)``
        - output: ``(D, slices, H, W)``
    """
    if volume.ndim != 4 or volume.shape[0] != 1:
        raise ValueError(f"expected a volume of shape (1, H, W, D) but got {tuple(volume.shape)}")
    depth = volume.shape[3]
    index = torch.tensor([stack_positions(p, depth, slices) for p in range(depth)], device=volume.device)
    return volume[0].permute(2, 0, 1)[index]


def merge_slice_stacks(stacks: torch.Tensor) -> torch.Tensor:
    """Volume from stacks made by :func:`slice_stacks`: the mean of all predictions of a slice, its inverse.

    Where edges were replicated, the copies count as predictions of the edge slice too.

    Shape:
        - stacks: ``(D, slices, H, W)``
        - output: ``(1, H, W, D)``
    """
    depth, slices = stacks.shape[:2]
    index = torch.tensor([stack_positions(p, depth, slices) for p in range(depth)], device=stacks.device).flatten()
    total = torch.zeros((depth, *stacks.shape[2:]), dtype=stacks.dtype, device=stacks.device)
    total.index_add_(0, index, stacks.flatten(0, 1))
    count = torch.bincount(index, minlength=depth).to(stacks.dtype)
    return (total / count[:, None, None]).permute(1, 2, 0)[None]


class SliceStack(InvertibleTransform):
    """A volume as all its slice stacks (decision 18); the inverse averages the overlaps.

    Args:
        slices: slices of a stack, odd.

    Shape:
        - input: ``(1, H, W, D)``
        - output: ``(D, slices, H, W)``
    """

    def __init__(self, slices: int = 3) -> None:
        stack_positions(0, 1, slices)  # refuses an even number
        self.slices = slices

    def __call__(self, volume: torch.Tensor) -> torch.Tensor:
        return slice_stacks(convert_to_tensor(volume, track_meta=hasattr(volume, "meta")), self.slices)

    def inverse(self, stacks: torch.Tensor) -> torch.Tensor:
        merged = merge_slice_stacks(stacks)
        return MetaTensor(merged).copy_meta_from(stacks) if isinstance(stacks, MetaTensor) else merged


class SliceStackd(MapTransform, InvertibleTransform):
    """Dictionary version of :class:`SliceStack`.

    Args:
        keys: volumes ``(1, H, W, D)``.
        slices: slices of a stack, odd.
        allow_missing_keys: leave out keys that the data lacks.
    """

    def __init__(self, keys: KeysCollection, slices: int = 3, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.stack = SliceStack(slices)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.stack(d[key])
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.stack.inverse(d[key])
        return d
