"""This process's share of a list of files or patients, where ``torchrun`` started several processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

from monai_nce.errors import InputError

__all__ = ["process_rank", "shard"]

Item = TypeVar("Item")


def process_rank() -> tuple[int, int]:
    """Tell which of how many processes this one is.

    Read from ``RANK`` and ``WORLD_SIZE``, as ``torchrun`` sets them on every machine, so that work which needs no
    exchange needs no process group either.

    Returns:
        Rank and number of processes; ``(0, 1)`` for a process started alone.

    Raises:
        InputError: when the two variables contradict each other.
    """
    rank, world_size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and world_size.isdecimal() and int(rank) < int(world_size)):
        raise InputError(f"expected RANK below WORLD_SIZE, as torchrun sets them, but got {rank!r} and {world_size!r}")
    return int(rank), int(world_size)


def shard(items: Iterable[Item]) -> list[Item]:
    """Take this process's part of a list: every N-th item, N the number of processes, so that long and short ones mix.

    Args:
        items: the same on every process, in the same order.

    Returns:
        The part, in the list's order: over all processes each item comes exactly once. Empty on the last processes
        when there are fewer items than processes; the whole list in a process started alone.

    Raises:
        InputError: when ``RANK`` and ``WORLD_SIZE`` contradict each other.
    """
    rank, world_size = process_rank()
    return list(items)[rank::world_size]
