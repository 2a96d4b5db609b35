"""Measure what training and inference on a CPU keep of their speed beside other busy processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise, repeat
from typing import Any

import torch
from ignite.engine import Engine
from torch import nn

from benchmarks.timing import busy_cores, spread
from monai_nce.handlers import CPUThreads
from monai_nce.inferers.slice_stack_inferer import run_batches
from monai_nce.inferers.torch_backend import TorchBackend
from monai_nce.precision import best_precision

__all__ = ["measure_contention"]

SETTLE_SECONDS = 2.5  # until the number of threads has followed the load


def _training(network: nn.Module, stacks: torch.Tensor, seconds: float) -> list[float]:
    """Return the seconds of the iterations of a trainer that adapts its threads as the bundle's do."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, betas=(0.5, 0.999))
    ends = [time.perf_counter()]

    def step(engine: Engine, batch: None) -> None:
        optimizer.zero_grad(set_to_none=True)
        (network(stacks) - stacks.flip(0)).abs().mean().backward()
        optimizer.step()
        ends.append(time.perf_counter())
        if ends[-1] - ends[0] > seconds + SETTLE_SECONDS:
            engine.terminate()

    trainer = Engine(step)
    CPUThreads().attach(trainer)
    threads = torch.get_num_threads()
    trainer.run(repeat(None), epoch_length=10**6)
    torch.set_num_threads(threads)
    return [end - start for start, end in pairwise(ends) if end - ends[0] > SETTLE_SECONDS]


def _inference(network: nn.Module, stacks: torch.Tensor, seconds: float) -> list[float]:
    """Return the seconds of batches by PyTorch's backend."""
    backend = TorchBackend(network, stacks.device, best_precision(stacks.device.type))
    batches = [stacks] * (4 * backend.workers)
    ends = [time.perf_counter()]
    while len(ends) < 3 or ends[-1] - ends[0] < seconds:
        list(run_batches(backend, batches, backend.workers, backend.threads))
        ends.append(time.perf_counter())
    return [(end - start) / len(batches) for start, end in pairwise(ends[1:])]  # the first round is slower


def measure_contention(
    network: nn.Module, stacks: torch.Tensor, seconds: float = 10.0, busy: Sequence[int] = (0, 1, 2)
) -> dict[str, Any]:
    """Measure an iteration and a forward pass beside ``busy`` other processes that keep a core busy each.

    The generator is trained on nothing of use, on batches of ``stacks``; ``kept`` is the part of the first's speed.
    """
    result: dict[str, Any] = {}
    for measure in (_training, _inference):
        seen: dict[int, dict[str, float]] = {}
        for count in busy:
            with busy_cores(count):
                seen[count] = spread(measure(network, stacks, seconds))
        quiet = seen[busy[0]]["median"]
        result[measure.__name__.removeprefix("_")] = {
            f"{count} busy": {"seconds": times, "kept": quiet / times["median"]} for count, times in seen.items()
        }
    return result
