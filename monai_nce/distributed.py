"""Ask for the rank, and exchange small things between the processes that ``torchrun`` starts.

The one place that asks for the rank. ``ignite.distributed`` is not used: it moves everything through the GPU of a run
over NCCL, and keeps the rank of a process group that is gone.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
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
    "on_main_process",
    "rank",
    "shard",
    "start_cpu_group",
    "world_size",
]

T = TypeVar("T")
# made beside a run's NCCL group, and gone with it: NCCL would wait for the GPU and pass everything through it
_cpu_groups: weakref.WeakKeyDictionary[dist.ProcessGroup, dist.ProcessGroup] = weakref.WeakKeyDictionary()


def rank() -> int:
    """Return this process's index: that of the process group, else ``torchrun``'s ``RANK``, else 0."""
    return _rank_and_world_size()[0]


def world_size() -> int:
    """Return the number of processes: that of the process group, else ``torchrun``'s ``WORLD_SIZE``, else 1."""
    return _rank_and_world_size()[1]


def is_main_process() -> bool:
    """Return whether this is rank 0, the process that writes and prints."""
    return rank() == 0


def shard(items: Iterable[T]) -> list[T]:
    """Return this process's part of ``items``, which are the same everywhere: of N processes each takes every N-th."""
    return list(items)[rank() :: world_size()]


def start_cpu_group(timeout: timedelta) -> None:
    """Start a gloo process group where ``torchrun`` started several processes and there is none yet.

    The ``timeout`` is for the slowest process; one that ends early is noticed at once.
    """
    if world_size() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo", timeout=timeout)
        # threads of the group that outlive the interpreter abort it now and then
        atexit.register(dist.destroy_process_group)


def all_max(*values: int) -> list[int]:
    """Return the largest of each value over all processes. A collective call."""
    if world_size() == 1:
        return [int(value) for value in values]
    largest = torch.tensor([int(value) for value in values], dtype=torch.int64)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_cpu_group())
    return largest.tolist()


def all_gather(thing: T) -> list[T]:
    """Return the ``thing``, which must pickle, of every process, by rank. A collective call."""
    things: list[Any] = [thing] * world_size()
    if len(things) > 1:
        dist.all_gather_object(things, thing, group=_cpu_group())
    return things


def broadcast(thing: T) -> T:
    """Return rank 0's ``thing``, which must pickle, on every process. A collective call."""
    things: list[Any] = [thing]
    if world_size() > 1:
        dist.broadcast_object_list(things, src=0, group=_cpu_group())
    return things[0]


def on_main_process(work: Callable[[], T]) -> T:
    """Return what ``work`` returns on rank 0, or raise its InputError, on every process. A collective call."""
    done: Any = None
    if is_main_process():
        try:
            done = work()
        except InputError as error:
            done = error
    done = broadcast(done)
    if isinstance(done, InputError):
        raise done
    return done


def broadcast_buffers(network: nn.Module) -> None:
    """Give every process rank 0's buffers of a network without a wrapper. A collective call.

    DistributedDataParallel does so before each pass alone, so the last batch's running means differ between ranks.
    """
    if world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def mean_over_ranks(values: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Detach scalars and average them by name over all processes, without waiting for a GPU. A collective call."""
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
    """Return a group over the CPUs of all processes: the default one where it is that."""
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
    """Leave the group when a stopped program ends: no thread of it may be left to the interpreter."""
    made = group()
    if made is not None and dist.is_initialized():
        dist.destroy_process_group(made)
