"""Forward passes: each backend against eager PyTorch in fp32, on quiet and on busy cores."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import SPADENet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.apart import Apart
from benchmarks.timing import busy_cores, faster, in_turns, spread
from monai_nce.engines.compiled import missing_for_compile
from monai_nce.inferers import Runtime
from monai_nce.inferers.slice_stack_inferer import run_batches

__all__ = ["differences", "eager", "gflop", "measure_forwards", "names", "passes", "spade_peer"]

HU = 150.0  # of an intensity, in the paper's window
EAGER = "eager fp32"
COMPILED = "torch.compile bf16"
CANDIDATES = (
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
)
Passes = Callable[[Sequence[torch.Tensor]], list[torch.Tensor]]


def eager(network: nn.Module) -> Passes:
    """One pass after the other by the network as it is: what everything else is compared with."""

    def run(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [network(batch).float() for batch in batches]

    return run


def compiled(network: nn.Module) -> Passes:
    """``torch.compile`` in bf16, channels last."""
    short = network.to(torch.bfloat16, memory_format=torch.channels_last)  # type: ignore[call-overload]
    short.compile()

    def run(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        with torch.inference_mode():
            return [short(b.to(torch.bfloat16, memory_format=torch.channels_last)).float() for b in batches]

    return run


def passes(
    name: str, network: nn.Module, stacks: torch.Tensor, work: torch.Tensor, checkpoint: Path, device: torch.device
) -> Callable[[bool], Any]:
    """A candidate's work, made in the process that is to do it: run all batches, and give the results if asked to.

    Args:
        name: of :func:`names`.
        network: in eval mode.
        stacks: real input to check the backends with, ``(1, C, H, W)``.
        work: ``(batches, B, C, H, W)``.
        checkpoint: beside which the ONNX file is put.
        device: to run on; the other arguments come from the CPU.
    """
    network, stacks = network.to(device), stacks.to(device)
    batches = list(work.to(device))
    if name == EAGER:
        run = eager(network.to(memory_format=torch.contiguous_format))  # type: ignore[call-overload]
    elif name == COMPILED:
        run = compiled(network)
    else:
        kind, precision = name.split()
        backend = Runtime(kind, precision, checkpoint).prepare(network, stacks, work.shape[1])

        def run(batches: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            return list(run_batches(backend, batches, backend.workers, backend.threads))

    def work_once(wanted: bool = False) -> Any:
        results = run(batches)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return torch.cat(results).cpu().numpy() if wanted else None

    return work_once


def names(device: torch.device, compile_too: bool) -> list[str]:
    """Everything that can run a network here; eager PyTorch first."""
    on_cpu = device.type == "cpu"
    found = [EAGER]
    for backend, precision in CANDIDATES:
        if on_cpu or backend == "torch":
            found.append(f"{backend} {precision}")
    return [*found, COMPILED] if compile_too and not missing_for_compile(device.type) else found


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
    batches: int = 4,
    compile_too: bool = False,
) -> dict[str, Any]:
    """All backends in turns, first on quiet cores, then, on a CPU, with one core kept busy by another process.

    Each has a process of its own, as in use: neither its threads nor its memory are those of the others. Turns are
    short, so that what is compared ran under the same load of the machine.

    Args:
        network: in eval mode.
        stacks: real input, at least ``batch_size`` of them, on the network's device.
        checkpoint: beside which the ONNX file is put.
        batch_size: stacks of a pass.
        rounds: turns of each.
        batches: passes of a turn.
        compile_too: ``torch.compile`` as well.

    Returns:
        Per backend ``seconds`` a batch; how many times ``faster`` than eager PyTorch, and ``at_best``, that is by the
        fastest turns of both; its difference from it in HU; and ``busy``, how fast it is on busy cores as a part of its
        quiet speed.
    """
    device = stacks.device
    stacks = stacks.cpu()
    work = torch.stack([stacks[torch.randint(len(stacks), (batch_size,))] for _ in range(batches)])
    given = (copy.deepcopy(network).cpu(), stacks[len(stacks) // 2][None], work, checkpoint, device)
    with contextlib.ExitStack() as stack:
        candidates = {name: stack.enter_context(Apart(passes, name, *given)) for name in names(device, compile_too)}

        def turns(count: int) -> dict[str, list[float]]:
            return {name: [t / batches for t in values] for name, values in in_turns(candidates, count).items()}

        quiet, busy = turns(rounds), {}
        if device.type == "cpu":
            with busy_cores(1):
                busy = turns(max(rounds // 2, 2))
        outputs = {name: torch.from_numpy(candidate(True)) for name, candidate in candidates.items()}
    result = {}
    for name, values in quiet.items():
        result[name] = {
            "seconds": spread(values),
            "faster": faster(quiet[EAGER], values),
            "at_best": min(quiet[EAGER]) / min(values),
            **differences(outputs[EAGER], outputs[name]),
        }
        if busy:
            result[name]["busy"] = spread(values)["median"] / spread(busy[name])["median"]
    return {
        "batch_size": batch_size,
        "size": list(stacks.shape[2:]),
        "rounds": rounds,
        "batches": batches,
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflop_per_stack": gflop(network, stacks[:1].to(device)),
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
