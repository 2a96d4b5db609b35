"""Move networks to their device and wrap them for DistributedDataParallel."""

from __future__ import annotations

import weakref

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from .compiled import compiled

__all__ = ["bare", "end_processes", "parallel"]

_wrapped: weakref.WeakSet[DistributedDataParallel] = weakref.WeakSet()


def parallel(network: nn.Module, device: str | torch.device, compile: bool = False) -> nn.Module:  # noqa: A002
    """Move a network to ``device``, channels last, which is faster for convolutions on CPU and GPU alike.

    Under ``torch.distributed`` it is wrapped in DistributedDataParallel, so that all processes start with rank 0's
    weights and step alike. On GPUs its batch norms, if it has any, then take their statistics over all processes;
    torch has no such batch norm for CPUs, where each process normalises by its own part of the batch.

    Args:
        network: moved in place.
        device: device to move it to.
        compile: run it, and everything that shares its module, by ``torch.compile``; see :func:`compiled`.

    Raises:
        InputError: when it is to be compiled and there is no compiler.
    """
    device = torch.device(device)
    network = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    distributed = dist.is_available() and dist.is_initialized()
    if distributed and device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    if compile:
        compiled(network, device)
    if distributed:
        wrapper = DistributedDataParallel(network, device_ids=[device] if device.type == "cuda" else None)
        _wrapped.add(wrapper)
        return wrapper
    return network


def end_processes() -> None:
    """Leave the process group at the end of a program; what :func:`parallel` wrapped cannot be trained after that.

    Over gloo any end will do, that of a stopped training too. Over NCCL only a good one: after an error it would wait
    for what the others never send.

    The wrappers let go of the group first, by their ``__dict__``, for which DistributedDataParallel has no public way:
    its destructor would wait for the group's threads without releasing Python's lock, for which these may wait, and the
    program would hang, or abort, after all its work.
    """
    for wrapper in _wrapped:
        for name in ("logger", "reducer", "process_group"):
            vars(wrapper).pop(name, None)
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def bare(network: nn.Module) -> nn.Module:
    """Return the network within a wrapper of :func:`parallel`, or the network itself."""
    inner = getattr(network, "module", network)
    return inner if isinstance(inner, nn.Module) else network
