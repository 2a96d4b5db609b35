"""What the processes of a training tell each other between iterations: small things, mostly, and not through a GPU."""

from __future__ import annotations

import atexit
import weakref
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from monai_nce.process_group import rank_and_count

__all__ = ["agree", "gather", "is_first_rank", "process_count", "share", "share_buffers"]

Thing = TypeVar("Thing")
# of a run over NCCL, and gone with it: a group made for this, since NCCL would wait for the GPU and pass through it
_groups: weakref.WeakKeyDictionary[dist.ProcessGroup, dist.ProcessGroup] = weakref.WeakKeyDictionary()


def is_first_rank() -> bool:
    """Whether this process writes and prints; the only process does."""
    return rank_and_count()[0] == 0


def process_count() -> int:
    """How many processes share the training."""
    return rank_and_count()[1]


def agree(*values: int) -> list[int]:
    """The largest of each value over all processes. Every process must call it, at the same point.

    Args:
        values: as many on every process.

    Returns:
        The same list on every process; the values themselves in a process alone, without any exchange.
    """
    if not _several():
        return [int(value) for value in values]
    largest = torch.tensor([int(value) for value in values], dtype=torch.int64)
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=_group())
    return largest.tolist()


def gather(thing: Thing) -> list[Thing]:
    """``thing`` of every process, by rank. Every process must call it, at the same point."""
    if not _several():
        return [thing]
    things: list[Any] = [None] * process_count()
    dist.all_gather_object(things, thing, group=_group())
    return things


def share(thing: Thing) -> Thing:
    """``thing`` of rank 0, on every process. Every process must call it, at the same point."""
    if not _several():
        return thing
    things: list[Any] = [thing]
    dist.broadcast_object_list(things, src=0, group=_group())
    return things[0]


def share_buffers(network: nn.Module) -> None:
    """Give every process rank 0's buffers of a network. Every process must call it, at the same point.

    DistributedDataParallel does so before each pass, but each rank's running means of the last batch stay its own: what
    rank 0 saves is otherwise not what the others go on with.

    Args:
        network: without a wrapper.
    """
    if _several():
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def _several() -> bool:
    return process_count() > 1


def _group() -> dist.ProcessGroup | None:
    """A group over the CPUs of all processes: the default one where it is that."""
    if dist.get_backend() == "gloo":
        return None
    world = dist.group.WORLD
    assert world is not None
    if world not in _groups:
        _groups[world] = dist.new_group(backend="gloo")
        atexit.register(_leave, weakref.ref(_groups[world]))
    return _groups[world]


def _leave(group: weakref.ref[dist.ProcessGroup]) -> None:
    """At the end of a program that was stopped: no thread of the group may be left to the interpreter."""
    made = group()
    if made is not None and dist.is_initialized():
        dist.destroy_process_group(made)
