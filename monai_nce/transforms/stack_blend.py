"""Blend the predictions of slice stacks that lie apart into a volume without steps between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .slice_stack import slice_stacks

__all__ = ["StackBlend", "blend_weights"]


def blend_weights(depth: int, centres: Sequence[int], slices: int = 3) -> np.ndarray:
    """Weigh the predictions of stacks for each slice of a volume of ``depth``: all positions in a stack count the same.

    For each position, first to last, the predictions are interpolated linearly from stack to stack, and beyond the
    outermost stay as they are; a slice gets the mean over the positions.

    Shape:
        - output: ``(number of centres, slices, depth)``; the weights of a slice sum to 1

    >>> (9 * blend_weights(9, [1, 4, 7])[:, :, 4]).round().tolist()
    [[0.0, 0.0, 1.0], [2.0, 3.0, 2.0], [1.0, 0.0, 0.0]]
    """
    offsets = np.arange(slices) - slices // 2
    weights = [
        [np.interp(np.arange(depth), np.add(centres, offset), stack) for offset in offsets]
        for stack in np.eye(len(centres))
    ]
    return np.array(weights) / slices


class StackBlend:
    """Blend the change of each slice over stacks that come one batch after the other.

    A network predicts the first slice of a stack otherwise than the middle one. Where each slice is predicted once, a
    scan of identical slices therefore comes out in steps of the stride's period. Here the change from the volume is
    interpolated by :func:`blend_weights` and added to each slice: the steps are gone, and detail stays in its slice.
    Nothing exceeds the range of what was predicted.

    Args:
        volume: what the stacks were cut from, ``(1, H, W, D)``.
        slices: slices of a stack.
        centres: of all stacks, as :func:`~monai_nce.transforms.stack_centres` gives them.
    """

    def __init__(self, volume: torch.Tensor, slices: int, centres: Sequence[int]) -> None:
        self._volume = volume
        self._slices = slices
        self._weights = dict(zip(centres, blend_weights(volume.shape[3], centres, slices), strict=True))
        self._change = volume.new_zeros((volume.shape[3], *volume.shape[1:3]), dtype=torch.float32)
        self._low, self._high = self._change.new_tensor([torch.inf, -torch.inf])

    def add(self, stacks: torch.Tensor, centres: Sequence[int]) -> None:
        """Add predictions ``(number of centres, slices, H, W)`` for ``centres`` as :func:`slice_stacks` took them."""
        changes = stacks - slice_stacks(self._volume, self._slices, centres)
        for centre, change in zip(centres, changes, strict=True):
            for image, weights in zip(change, self._weights[centre], strict=True):
                for z in weights.nonzero()[0]:
                    self._change[z].add_(image, alpha=weights[z])
        self._low, self._high = self._low.minimum(stacks.min()), self._high.maximum(stacks.max())

    def volume(self) -> torch.Tensor:
        """Return the blend, ``(1, H, W, D)``; all stacks must have been added."""
        return (self._volume + self._change.permute(1, 2, 0)).clamp_(self._low, self._high)
