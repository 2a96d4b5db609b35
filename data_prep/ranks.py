"""The processes that ``torchrun`` started for one preparation, on one machine or on several that share a folder."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from monai_nce.distributed import rank, shard, world_size

__all__ = ["Ranks"]

Item = TypeVar("Item")
PATIENCE = timedelta(days=30)  # for the slowest; one that ends early is noticed at once


class Ranks:
    """Share a list of work among the processes, and gather what they have to say on rank 0.

    A process that was started alone is rank 0 of 1 and exchanges nothing. Big things, such as volumes, go through the
    shared folder. Every process must make the same calls in the same order.

    Attributes:
        rank: of this process.
        count: of processes.

    Raises:
        InputError: when ``RANK`` and ``WORLD_SIZE`` contradict each other.
        ChildProcessError: by each method, when another process has ended early.
    """

    def __init__(self) -> None:
        self.rank, self.count = rank(), world_size()
        if self.count > 1 and not dist.is_initialized():
            dist.init_process_group("gloo", timeout=PATIENCE)
            # its threads, left to an interpreter that ends, now and then abort what was done
            atexit.register(dist.destroy_process_group)

    def share(self, items: Sequence[Item] | None = None) -> list[Item] | None:
        """This process's part of rank 0's list.

        Args:
            items: on rank 0 the list, or None to let the others go; ignored elsewhere.

        Returns:
            Every N-th item, N the number of processes, in order; None when rank 0 gave none.
        """
        told: list[Any] = [items]
        if self.count > 1:
            with _others_alive():
                dist.broadcast_object_list(told, src=0)
        return None if told[0] is None else shard(told[0])

    def gather(self, thing: Item) -> list[Item]:
        """``thing`` of every process by rank, once all have come here."""
        things: list[Any] = [thing]
        if self.count > 1:
            things = [None] * self.count
            with _others_alive():
                dist.all_gather_object(things, thing)
        return things

    @contextmanager
    def others_go_on_error(self) -> Iterator[None]:
        """On rank 0: let the others, who wait in :meth:`share`, end quietly when the body raises."""
        try:
            yield
        except BaseException:
            self.share(None)
            raise


@contextmanager
def _others_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo raises when the other side is gone
        raise ChildProcessError("another process of this run has ended early; see its message") from error
