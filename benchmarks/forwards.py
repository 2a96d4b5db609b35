"""Measure forward passes: each backend against eager PyTorch in fp32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import faster, in_turns, spread
from monai_nce.inferers import Backend, Runtime, difference
from monai_nce.inferers.slice_stack_inferer import run_batches

__all__ = ["CANDIDATES", "HU", "differences", "gflop", "measure_forwards"]

HU = 150.0  # of an intensity, in the paper's window
EAGER = "eager fp32"
CANDIDATES = ("torch fp32", "torch bf16", "openvino fp32", "openvino bf16")


def differences(expected: torch.Tensor, got: torch.Tensor) -> dict[str, float]:
    """Return mean, 99.9th percentile and worst 5 x 5 mean of the difference, in HU of the paper's window."""
    return {f"{name}_hu": HU * value for name, value in difference(expected, got)._asdict().items()}


def gflop(network: nn.Module, *inputs: torch.Tensor) -> float:
    """Count the operations of a pass in units of 1e9, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(*inputs)
    return counter.get_total_flops() / 1e9


def _eager(network: nn.Module, batches: list[torch.Tensor]) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in batches])


def _passes(backend: Backend, batches: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([*run_batches(backend, batches, backend.workers, backend.threads)])


def measure_forwards(
    network: nn.Module, stacks: torch.Tensor, checkpoint: Path, batch_size: int, rounds: int, batches: int = 4
) -> dict[str, Any]:
    """Compare all backends of a device with eager PyTorch in speed and in HU, in turns of so many ``batches``.

    The network is in eval mode and in the default memory format, on the device of ``stacks``, which are real input;
    the ONNX file is put beside the checkpoint.
    """
    work = [stacks[torch.randint(len(stacks), (batch_size,))] for _ in range(batches)]
    candidates: dict[str, Callable[[], torch.Tensor]] = {EAGER: partial(_eager, network, work)}
    for name in CANDIDATES:
        if name.startswith("torch") or stacks.device.type == "cpu":
            kind, precision = name.split()
            # accepted whatever its error is, as that is to be measured
            runtime = Runtime(kind, precision, checkpoint, window_width=1e-6)
            candidates[name] = partial(_passes, runtime.prepare(network, stacks[:1], batch_size), work)
    times = in_turns(candidates, rounds)
    return {
        **{"batch_size": batch_size, "gflop_per_stack": gflop(network, stacks[:1])},
        "backends": {
            name: {
                "seconds": spread([t / batches for t in values]),
                "faster": faster(times[EAGER], values),
                **differences(candidates[EAGER](), candidates[name]()),
            }
            for name, values in times.items()
        },
    }
