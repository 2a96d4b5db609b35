"""Resample a volume along one of its axes, for training data and at inference alike."""

from __future__ import annotations

import math

import numpy as np
import torch

__all__ = ["resample_axis"]

EDGE = 0.5 + 1e-6  # voxels beyond the centres of the first and last one that belong to the volume


def resample_axis(
    volume: torch.Tensor, axis: int, size: int, start: float, step: float, width: float | None = None, fill: float = 0.0
) -> torch.Tensor:
    """Take ``size`` values at ``start``, ``start + step``, … along an axis: linear, antialiased where ``step`` > 1.

    Each value is a weighted mean under a triangle that reaches ``width`` voxels to both sides, renormalised at the
    edges: what ``interpolate(mode="bilinear", antialias=True)`` of PyTorch computes, at any start and step. A triangle
    lets less noise alias than area averages do, and unlike those it does not depend on where pixels fall.

    Args:
        volume: float tensor of any shape.
        axis: axis to resample.
        size: number of values.
        start: position of the first value in voxels; the centre of the first voxel is 0.
        step: distance of the values in voxels, positive.
        width: reach of the triangle in voxels, at least 1; by default ``step`` where that is more than 1.
        fill: value outside the volume.
    """
    length = volume.shape[axis]
    width = max(step, 1.0) if width is None else width
    centres = start + step * np.arange(size)
    taps = np.floor(centres - width)[:, None].astype(int) + np.arange(1, math.ceil(2 * width) + 2)
    weights = np.clip(1 - np.abs(taps - centres[:, None]) / width, 0, None) * ((taps >= 0) & (taps < length))
    outside = (centres < -EDGE) | (centres > length - 1 + EDGE)
    weights[outside] = 0
    weights /= np.where(outside, 1.0, weights.sum(1))[:, None]
    index = torch.from_numpy(taps.clip(0, length - 1)).to(volume.device)
    shares = torch.from_numpy(weights).to(volume)
    along = [size if number == axis % volume.ndim else 1 for number in range(volume.ndim)]
    # one tap after the other: the sums are the same whatever number of threads computes them
    total = torch.zeros_like(volume.index_select(axis, index[:, 0]))
    for tap in range(taps.shape[1]):
        if weights[:, tap].any():
            total.addcmul_(volume.index_select(axis, index[:, tap]), shares[:, tap].view(along))
    return total.index_fill_(axis, torch.from_numpy(np.flatnonzero(outside)).to(volume.device), fill)
