"""Put a network's input, output and target side by side for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .panels import radiological

__all__ = ["side_by_side"]


def side_by_side(output: Mapping[str, torch.Tensor], keys: Sequence[str] = ("image", "pred", "label")) -> torch.Tensor:
    """Join the middle slices of volumes ``(1, H, W, D)`` in [-1, 1], in the radiological orientation.

    Returns:
        ``(1, W, len(keys) * H)`` in [0, 1].
    """
    middles = [output[key][0, ..., output[key].shape[-1] // 2] for key in keys]
    slices = [radiological(torch.as_tensor(middle).detach().float().cpu().numpy()) for middle in middles]
    picture = (np.concatenate(slices, axis=1).clip(-1, 1) + 1) / 2
    return torch.from_numpy(np.ascontiguousarray(picture))[None]
