"""Order a training's items by seed and epoch alone, however many processes share them."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import DistributedSampler

from monai_nce.distributed import rank, world_size
from monai_nce.errors import InputError

__all__ = ["EpochIndex", "EpochSampler"]


class EpochIndex(int):
    """Carry the epoch, from 1 on, with an index, so that a data set in any worker process knows it."""

    epoch: int

    def __new__(cls, index: int, epoch: int) -> EpochIndex:
        made = super().__new__(cls, index)
        made.epoch = epoch
        return made

    def __getnewargs__(self) -> tuple[int, int]:  # type: ignore[override]
        return int(self), self.epoch


class EpochSampler(DistributedSampler):
    """Shuffle a data set anew in each epoch; every process takes its share, and a stopped epoch can go on.

    The order depends on ``(seed, epoch)`` alone, not on what was drawn before. Rank r of w takes every w-th item from
    the r-th on: a global batch holds the same items whether one process takes it or several. All ranks get as many.
    MONAI's engines tell a ``DistributedSampler`` the epoch, with one process as well.

    Raises:
        InputError: when its length is asked for, if there are fewer items than processes.
    """

    def __init__(self, dataset: Sized, seed: int = 0) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, seed=seed)  # type: ignore[arg-type]
        self._skipped = 0

    def __len__(self) -> int:
        items, processes = len(self.dataset), world_size()  # type: ignore[arg-type]
        if items < processes:
            raise InputError(f"expected at least one slice stack per process but got {items} for {processes} processes")
        return items // processes

    def __iter__(self) -> Iterator[EpochIndex]:
        processes = world_size()
        # sorted by raw random bits, which NumPy promises not to change between versions, unlike its permutations
        keys = np.random.PCG64([self.seed, self.epoch]).random_raw(len(self.dataset))  # type: ignore[arg-type]
        order = np.argsort(keys, kind="stable")[: len(self) * processes]
        start, self._skipped = self._skipped, 0
        return (EpochIndex(index, self.epoch) for index in order[rank() :: processes][start:].tolist())

    def skip(self, items: int) -> None:
        """Leave out the first ``items`` of this process's share, once: they were seen before the training stopped."""
        self._skipped = items
