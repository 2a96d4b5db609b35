"""Run a network with PyTorch in a given number format."""

from __future__ import annotations

import copy

import torch
from torch import nn

from monai_nce.precision import DTYPES

__all__ = ["TorchBackend", "cpu_workers"]

MOST_WORKERS = 4  # each holds the features of a batch


def cpu_workers(threads: int) -> int:
    """Return how many passes to run at once on a CPU, each with an equal share of ``threads``.

    A pass spread over all cores waits, layer by layer, for the slowest of them; where another program keeps one core
    busy, that costs most of the speed. Passes side by side do not wait for each other.
    """
    return next(workers for workers in range(min(threads, MOST_WORKERS), 0, -1) if threads % workers == 0)


class TorchBackend:
    """Run a copy of a network in a number format, channels last; stacks and output are ``(B, C, H, W)``, float32.

    Weights are converted once, rather than in each pass as autocast does.
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: str = "fp32") -> None:
        self.dtype = DTYPES[precision]
        copied = copy.deepcopy(network).to(self.dtype).eval().requires_grad_(False)
        self.network: nn.Module = copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        threads = torch.get_num_threads()
        self.workers = self.sharing = cpu_workers(threads) if device.type == "cpu" else 1
        self.threads = threads // self.workers

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            return self.network(stacks.to(dtype=self.dtype, memory_format=torch.channels_last)).float()
