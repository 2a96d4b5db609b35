"""Rank, world size and the small exchanges between the processes that ``torchrun`` starts.

The one place that asks for the rank. ``ignite.distributed`` is not used: it moves everything through the GPU of a run
over NCCL, and keeps the rank of a process group that is gone.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from monai_nce.errors import InputError

__all__ = [
    "all_gather",
    "all_max",
    "broadcast",
    "broadcast_buffers",
    "is_main_process",
    "mean_over_ranks",
    "rank",
    "shard",
    "start_cpu_group",
    "world_size",
]

T = TypeVar("T")
# made beside a run's NCCL group, and gone with it: NCCL would wait for the GPU and pass everything through it
_cpu_groups: weakref.WeakKeyDictionary[dist.ProcessGroup, dist.ProcessGroup] = weakref.WeakKeyDictionary()


def rank() -> int:
    """Index of this process: that of the process group, else ``torchrun``'s ``RANK``, else 0.

    Raises:
        InputError: when ``RANK`` and ``WORLD_SIZE`` contradict each other.
    """
    return _rank_and_world_size()[0]


def world_size() -> int:
    """Number of processes: that of the process group, else ``torchrun``'s ``WORLD_SIZE``, else 1.

    Raises:
        InputError: when ``RANK`` and ``WORLD_SIZE`` contradict each other.
    """
    return _rank_and_world_size()[1]


def is_main_process() -> bool:
    """Whether this is rank 0, the process that writes and prints."""
    return rank() == 0


def shard(items: Iterable[T]) -> list[T]:
    """Take this process's part of a list: every N-th item, with N processes, so that long and short ones mix.

    Args:
        items: the same on every process, in the same order.

    Returns:
        The part, in the list's order. Over all processes each item comes exactly once; empty on the last processes
        when there are fewer items than processes.
    """
    return list(items)[rank() :: world_size()]


def start_cpu_group(timeout: timedelta) -> None:
    """Start a gloo process group where ``torchrun`` started several processes and there is none yet.

    Args:
        timeout: longest wait for the slowest process; one that ends early is noticed at once.
    """
    if world_size() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timeout)
        # threads of the group that outlive the interpreter abort it now and then
        atexit.register(dist.destroy_process_group)


def all_max(*values: int) -> list[int]:
    """Largest of each value over all processes. A collective call.

    Args:
        values: as many on every process.
    """
    if world_size() == 1:
        return [int(value) for value in values]
    largest = torch.tensor([int(value) for value in values], dtype=torch.int64)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_cpu_group())
    return largest.tolist()


def all_gather(thing: T) -> list[T]:
    """``thing`` of every process, by rank. A collective call.

    Args:
        thing: anything that pickles.
    """
    things: list[Any] = [thing] * world_size()
    if len(things) > 1:
        dist.all_gather_object(things, thing, group=_cpu_group())
    return things


def broadcast(thing: T) -> T:
    """``thing`` of rank 0, on every process. A collective call.

    Args:
        thing: anything that pickles; ignored on the other ranks.
    """
    things: list[Any] = [thing]
    if world_size() > 1:
        dist.broadcast_object_list(things, src=0, group=_cpu_group())
    return things[0]


def broadcast_buffers(network: nn.Module) -> None:
    """Give every process rank 0's buffers of a network. A collective call.

    DistributedDataParallel does so before each pass, but each rank's running means of the last batch stay its own: what
    rank 0 saves is otherwise not what the others go on with.

    Args:
        network: without a wrapper.
    """
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def mean_over_ranks(values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Average scalars over all processes in one exchange, so that what is logged is that of the whole batch.

    A collective call. All processes get the same figures, so decisions that rest on these agree.

    Args:
        values: scalars by name, the same names on every process.

    Returns:
        The averages, detached; in a single process the values themselves, detached.
    """
    detached = {name: value.detach() for name, value in values.items()}
    if (count := world_size()) == 1:
        return detached
    _check_group()
    together = torch.stack([value.float() for value in detached.values()])
    dist.all_reduce(together)
    return dict(zip(detached, together / count, strict=True))


def _rank_and_world_size() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    own, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (own.isdecimal() and count.isdecimal() and int(own) < int(count)):
        raise InputError(f"expected RANK below WORLD_SIZE, as torchrun sets them, but got {own!r} and {count!r}")
    return int(own), int(count)


def _check_group() -> None:
    if not dist.is_initialized():
        raise InputError(
            f"torchrun has started {world_size()} processes but they have no process group to train together; "
            "add multi_gpu_train.json to --config_file"
        )


def _cpu_group() -> dist.ProcessGroup | None:
    """A group over the CPUs of all processes: the default one where it is that."""
    _check_group()
    if dist.get_backend() == "gloo":
        return None
    world = dist.group.WORLD
    assert world is not None
    if world not in _cpu_groups:
        _cpu_groups[world] = dist.new_group(backend="gloo")
        atexit.register(_destroy, weakref.ref(_cpu_groups[world]))
    return _cpu_groups[world]


def _destroy(group: weakref.ref[dist.ProcessGroup]) -> None:
    """At the end of a program that was stopped: no thread of the group may be left to the interpreter."""
    made = group()
    if made is not None and dist.is_initialized():
        dist.destroy_process_group(made)
