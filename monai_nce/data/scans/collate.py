"""Collate one volume to a batch without copying its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.data import MetaTensor, list_data_collate

__all__ = ["collate_volume"]


def collate_volume(items: Sequence[dict[str, Any] | Exception]) -> dict[str, Any] | Exception:
    """Make a batch of one item as MONAI does, but leave the voxels of volumes ``(C, H, W, D)`` where they are.

    MONAI's copy has them in another order than files have, which makes the transforms behind it several times slower.
    What :class:`~monai_nce.data.AttemptedDataset` gives in place of an item, an exception, is handed on.
    """
    (item,) = items
    if isinstance(item, Exception):
        return item
    volumes = {key: value for key, value in item.items() if isinstance(value, MetaTensor)}
    empty = {key: MetaTensor(torch.empty((0,) * value.ndim)).copy_meta_from(value) for key, value in volumes.items()}
    batch: dict[str, Any] = list_data_collate([{**item, **empty}])
    for key, value in volumes.items():
        batch[key] = MetaTensor(value.as_tensor()[None]).copy_meta_from(batch[key])
    return batch
