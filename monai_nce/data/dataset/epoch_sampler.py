"""Order a training's items by seed and epoch alone, however many processes share them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized

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

    An epoch may have only some of a part's items, or some several times. It then takes those that come next in an order
    of the part's own, which is made anew once all have come. An index carries the number of that round in place of the
    epoch, so that what is drawn by it differs each time.

    Args:
        dataset: items to order.
        seed: of the order.
        parts: indices of each part of the data set, and how many of them an epoch has; all of it if none are given.

    Raises:
        InputError: when its length is asked for, if there are fewer items than processes.
    """

    def __init__(self, dataset: Sized, seed: int = 0, parts: Sequence[tuple[range, int]] = ()) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, seed=seed)  # type: ignore[arg-type]
        self.parts = parts or [(range(len(dataset)), len(dataset))]
        self._skipped = 0

    def __len__(self) -> int:
        items, processes = sum(count for _, count in self.parts), world_size()
        if items < processes:
            raise InputError(f"expected at least one slice stack per process but got {items} for {processes} processes")
        return items // processes

    def __iter__(self) -> Iterator[EpochIndex]:
        processes = world_size()
        in_all = len(self) * processes
        indices, rounds = self._draw()
        order = _shuffled(len(indices), self.seed, self.epoch)[:in_all]
        start, self._skipped = self._skipped, 0
        mine = order[rank() :: processes][start:]
        return map(EpochIndex, indices[mine].tolist(), rounds[mine].tolist())

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the epoch's indices, sorted by part, and the round of the part in which each is drawn."""
        drawn = []
        for number, (items, count) in enumerate(self.parts, start=1):
            places = np.arange(self.epoch * count, (self.epoch + 1) * count)  # among what all epochs draw
            rounds, places = np.divmod(places, len(items))
            if count == len(items):
                drawn.append((items, rounds))  # each round is an epoch
                continue
            orders = [_shuffled(len(items), self.seed, each, number) for each in range(rounds[0], rounds[-1] + 1)]
            drawn.append((items.start + np.stack(orders)[rounds - rounds[0], places], rounds))
        return np.concatenate([indices for indices, _ in drawn]), np.concatenate([rounds for _, rounds in drawn])

    def skip(self, items: int) -> None:
        """Leave out the first ``items`` of this process's share, once: they were seen before the training stopped."""
        self._skipped = items


def _shuffled(items: int, *seed: int) -> np.ndarray:
    # sorted by raw random bits, which NumPy promises not to change between versions, unlike its permutations
    return np.argsort(np.random.PCG64(seed).random_raw(items), kind="stable")
