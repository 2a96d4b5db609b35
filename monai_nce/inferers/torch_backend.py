"""PyTorch itself: a copy of the network in the wanted format, channels last, several passes at once on a CPU."""

from __future__ import annotations

import copy
import inspect

import torch
from torch import nn

from monai_nce.precision import DTYPES, best_precision

from .packed_convolution import has_eight_bits, pack_convolutions

__all__ = ["EIGHT_BITS", "TorchBackend", "can_use_eight_bits", "cpu_workers", "gains_from_eight_bits"]

EIGHT_BITS = "int8"

MOST_WORKERS = 4  # each holds the features of a batch


def cpu_workers(threads: int) -> int:
    """Passes to run at once on a CPU, each with an equal share of ``threads``.

    A pass spread over all cores waits, layer by layer, for the slowest of them; where another program keeps one core
    busy, that costs most of the speed. Passes side by side wait for nothing.
    """
    return next(workers for workers in range(min(threads, MOST_WORKERS), 0, -1) if threads % workers == 0)


def can_use_eight_bits(network: nn.Module, device: torch.device) -> bool:
    """Whether a network can rearrange itself to compute partly in 8 bits, and the device computes in them."""
    rearrange = getattr(network, "for_inference", None)
    return (
        device.type == "cpu"
        and rearrange is not None
        and "eight_bits" in inspect.signature(rearrange).parameters
        and has_eight_bits()
    )


def gains_from_eight_bits(network: nn.Module, device: torch.device) -> bool:
    """Whether 8 bits are faster here than the short format that the device is fast in.

    AMX does convolutions in bf16 so fast that those in fp32, which eight bits need beside them, would take longer.
    """
    can: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return can_use_eight_bits(network, device) and not can.get("amx_bf16", False)


class TorchBackend:
    """A network as PyTorch runs it.

    Weights are converted, rather than cast anew in each pass as autocast does. A network that can rearrange itself,
    by a method ``for_inference`` like :meth:`monai_nce.networks.Generator.for_inference`, is asked to and takes and
    gives float32; another one is converted as a whole.

    Args:
        network: copied, left as it is.
        device: the network's.
        precision: ``fp32``, ``bf16``, ``fp16``; or ``int8``, where :func:`can_use_eight_bits`: what is not done in 8
            bits is in the format that the device is fast in.

    Shape:
        - stacks and output: ``(B, C, H, W)``, float32
    """

    def __init__(self, network: nn.Module, device: torch.device, precision: str = "fp32") -> None:
        eight_bits = precision == EIGHT_BITS
        dtype = DTYPES[best_precision(device.type) if eight_bits else precision]
        rearrange = getattr(network, "for_inference", None)
        if rearrange is None:
            ready = copy.deepcopy(network).to(dtype)
        else:
            ready = rearrange(dtype, eight_bits=True) if eight_bits else rearrange(dtype)
        self.input_dtype = dtype if rearrange is None else torch.float32
        ready = ready.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network: nn.Module = ready.eval().requires_grad_(False)
        on_cpu = device.type == "cpu"
        if on_cpu:
            self.network = pack_convolutions(self.network)
        threads = torch.get_num_threads()
        self.workers = self.sharing = cpu_workers(threads) if on_cpu else 1
        self.threads = threads // self.workers

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            converted = stacks.to(dtype=self.input_dtype, memory_format=torch.channels_last)
            return self.network(converted).float()
