"""Forward passes: each backend against eager PyTorch in fp32, on quiet and on busy cores."""

from __future__ import annotations

import contextlib
import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import SPADENet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import busy_cores, faster, in_turns, spread
from monai_nce.inferers import Backend, Runtime
from monai_nce.inferers.slice_stack_inferer import run_batches

__all__ = ["backends", "differences", "gflop", "measure_forwards", "spade_peer"]

HU = 150.0  # of an intensity, in the paper's window
EAGER = "eager fp32"
CANDIDATES = (("torch", "fp32"), ("torch", "bf16"), ("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
Passes = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]


def eager(network: nn.Module) -> Passes:
    """One pass after the other by the network as it is: what everything else is compared with."""

    def run(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [network(batch).float() for batch in batches]

    return run


def of_backend(backend: Backend) -> Passes:
    """Passes as the inferer runs them."""
    return lambda batches: list(run_batches(backend, batches, backend.workers, backend.threads))


def compiled(network: nn.Module) -> Passes:
    """``torch.compile`` in bf16, channels last."""
    short = copy.deepcopy(network).to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    short.compile()

    def run(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [short(b.to(torch.bfloat16, memory_format=torch.channels_last)).float() for b in batches]

    return run


def backends(
    network: nn.Module, stacks: torch.Tensor, checkpoint: Path, batch_size: int, compile_too: bool
) -> dict[str, Passes]:
    """Everything that can run the network here, by name; eager PyTorch first.

    Args:
        network: in eval mode, on its device.
        stacks: real input to check the backends with, ``(1, C, H, W)``, on that device.
        checkpoint: beside which the ONNX file is put.
        batch_size: stacks of a pass.
        compile_too: ``torch.compile`` as well, which takes minutes to begin.
    """
    made = {EAGER: eager(network)}
    on_cpu = stacks.device.type == "cpu"
    for backend, precision in CANDIDATES:
        if backend == "torch" or on_cpu:
            ready = Runtime(backend, precision, checkpoint).prepare(network, stacks, batch_size)
            made[f"{backend} {precision}"] = of_backend(ready)
    if compile_too and (not on_cpu or shutil.which("g++")):
        made["torch.compile bf16"] = compiled(network)
    return made


def differences(expected: torch.Tensor, got: torch.Tensor) -> dict[str, float]:
    """Mean, 99.9th percentile and maximum of the absolute difference, in HU of the paper's window."""
    wrong = (expected - got).abs().flatten() * HU
    ranked = wrong.sort().values
    return {
        "mean_hu": float(wrong.mean()),
        "p999_hu": float(ranked[min(int(0.999 * len(ranked)), len(ranked) - 1)]),
        "max_hu": float(ranked[-1]),
    }


def measure_forwards(
    network: nn.Module,
    stacks: torch.Tensor,
    checkpoint: Path,
    batch_size: int,
    rounds: int,
    batches: int = 12,
    compile_too: bool = False,
) -> dict[str, Any]:
    """All backends in turns, first on quiet cores, then, on a CPU, with one core kept busy by another process.

    Args:
        network: in eval mode.
        stacks: real input, at least ``batch_size`` of them.
        checkpoint: beside which the ONNX file is put.
        batch_size: stacks of a pass.
        rounds: turns of each.
        batches: passes of a turn.
        compile_too: ``torch.compile`` as well.

    Returns:
        Per backend ``seconds`` a batch, how many times ``faster`` than eager PyTorch, and its difference from it in
        HU; and ``busy``, how fast it is on busy cores as a part of its quiet speed.
    """
    device = stacks.device
    candidates = backends(network, stacks[len(stacks) // 2][None], checkpoint, batch_size, compile_too)
    work = [stacks[torch.randint(len(stacks), (batch_size,))] for _ in range(batches)]
    expected = torch.cat(candidates[EAGER](work[:2]))

    def timed(passes: Passes) -> Callable[[], None]:
        def run() -> None:
            passes(work)
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    def turns(names: Sequence[str], count: int) -> dict[str, list[float]]:
        times = in_turns({name: timed(candidates[name]) for name in names}, count)
        return {name: [t / batches for t in values] for name, values in times.items()}

    quiet = turns(list(candidates), rounds)
    with busy_cores(1) if device.type == "cpu" else contextlib.nullcontext():
        busy = turns(list(candidates), max(rounds // 2, 2)) if device.type == "cpu" else {}
    result = {}
    for name, values in quiet.items():
        result[name] = {
            "seconds": spread(values),
            "faster": faster(quiet[EAGER], values),
            **differences(expected, torch.cat(candidates[name](work[:2]))),
        }
        if busy:
            result[name]["busy"] = spread(values)["median"] / spread(busy[name])["median"]
    return {
        "batch_size": batch_size,
        "size": list(stacks.shape[2:]),
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflop_per_stack": gflop(network, work[0][:1]),
        "backends": result,
    }


def gflop(network: nn.Module, *inputs: torch.Tensor) -> float:
    """Floating-point operations of a pass in units of 1e9, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(*inputs)
    return counter.get_total_flops() / 1e9


def spade_peer(channels: Sequence[int], hidden_channels: int, size: int) -> nn.Module:
    """MONAI's ``SPADENet`` of the same width, the nearest thing that MONAI has.

    It cannot be the paper's generator: it starts from a vector, lacks the concatenation, and its guide is a label map.
    """
    return SPADENet(
        spatial_dims=2,
        in_channels=3,
        out_channels=3,
        label_nc=3,
        input_shape=[size, size],
        channels=list(reversed(channels)),
        z_dim=None,
        is_vae=False,
        spade_intermediate_channels=hidden_channels,
    ).eval()
