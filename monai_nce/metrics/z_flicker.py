"""Compare steps from slice to slice with the real image's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import avg_pool2d

from monai_nce.errors import InputError

__all__ = ["z_flicker"]

BLOCK_MM = 20.0  # over which each slice is averaged first, against noise
NOTHING = 1e-6  # of the data range, which makes two volumes alike that do not change along z


def z_flicker(pred: torch.Tensor, target: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Divide the mean second difference along z by that of the real image.

        mean |b(z) - (b(z - 1) + b(z + 1)) / 2|

    of means b over squares of 20 mm in plane. A network that computes some slices at a time shifts their brightness
    together, which shows as steps between stacks; organs' own ends are in both images. :mod:`benchmarks.flicker`
    measures the part that a slice's place in its stack makes, where the network can be run again.

    Args:
        pred, target: ``(D, 1, H, W)``.
        spacing: sides of a voxel along H, W and D in mm.

    Returns:
        ``(D,)``; 1 is the best. The first and the last slice have their neighbour's value.

    Raises:
        InputError: for fewer than three slices.
    """
    if len(pred) < 3:
        raise InputError(f"z_flicker: expected at least three slices but got {len(pred)}")
    block = [min(max(1, round(BLOCK_MM / side)), n) for side, n in zip(spacing, pred.shape[2:], strict=False)]
    steps = []
    for volume in (pred, target):
        means = avg_pool2d(volume.double(), block)[:, 0]
        step = (means[1:-1] - (means[:-2] + means[2:]) / 2).abs().mean(dim=(1, 2))
        steps.append(torch.cat([step[:1], step, step[-1:]]))
    return (steps[0] + NOTHING) / (steps[1] + NOTHING)
