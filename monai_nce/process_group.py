"""This process's place among those that train together."""

from __future__ import annotations

import torch.distributed as dist

__all__ = ["rank_and_count"]


def rank_and_count() -> tuple[int, int]:
    """Rank in the process group and number of its processes; ``(0, 1)`` where there is no group.

    What needs no exchange asks ``torchrun``'s variables instead: :func:`monai_nce.data.shard.process_rank`.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
