"""PyTorch itself: a copy of the network in the wanted format, channels last, several passes at once on a CPU."""

from __future__ import annotations

import copy

import torch
from torch import nn

from monai_nce.precision import DTYPES

__all__ = ["TorchBackend", "cpu_workers"]

MOST_WORKERS = 4  # each holds the features of a batch


def cpu_workers(threads: int) -> int:
    """Passes to run at once on a CPU, each with an equal share of ``threads``.

    A pass spread over all cores waits, layer by layer, for the slowest of them; where another program keeps one core
    busy, that costs most of the speed. Passes side by side wait for nothing.
    """
    return next(workers for workers in range(min(threads, MOST_WORKERS), 0, -1) if threads % workers == 0)


class TorchBackend:
    """A network as PyTorch runs it.

    Weights are converted, rather than cast anew in each pass as autocast does. A network's ``fp32_modules`` stay in
    fp32; one that has such modules is given its input in fp32, too.

    Args:
        network: copied, left as it is.
        precision: ``fp32``, ``bf16`` or ``fp16``.

    Shape:
        - stacks and output: ``(B, C, H, W)``, float32
    """

    def __init__(self, network: nn.Module, precision: str = "fp32") -> None:
        copied = copy.deepcopy(network).eval().requires_grad_(False)
        self.network = copied.to(dtype=DTYPES[precision], memory_format=torch.channels_last)  # type: ignore[call-overload]
        kept = getattr(network, "fp32_modules", ())
        for name in kept:
            self.network.get_submodule(name).float()
        self.input_dtype = torch.float32 if kept else DTYPES[precision]
        on_cpu = all(value.device.type == "cpu" for value in copied.state_dict().values())
        threads = torch.get_num_threads()
        self.workers = cpu_workers(threads) if on_cpu else 1
        self.threads = threads // self.workers

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            converted = stacks.to(dtype=self.input_dtype, memory_format=torch.channels_last)
            return self.network(converted).float()
