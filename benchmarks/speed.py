"""How fast it is: every part against what it is to be compared with, in one run, as ratios.

    python -m benchmarks.speed [--only forwards volume strides training compiling loader] [--rounds N] [--out FILE]

Candidates take turns, since machines are noisy; medians, spread and ratios are printed, and written as JSON with
``--out``. Leave the machine alone meanwhile. The paper's network is trained for some minutes first, as the rounding
errors of random weights mean nothing; the weights are kept in ``--folder``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.brief_training import phantom_stacks, trained_briefly
from benchmarks.cell import CONFIGS
from benchmarks.forwards import gflop, measure_forwards, spade_peer
from benchmarks.hardware import host
from benchmarks.loading import measure_loader, measure_memory, sparse_patients
from benchmarks.timing import in_turns, spread
from benchmarks.training import matmul_peak, measure_compile, measure_training
from benchmarks.volumes import measure_strides, measure_volume, phantom_volume
from monai_nce.data import read_datalist, write_json
from monai_nce.engines.compiled import missing_for_compile
from monai_nce.inferers import BACKENDS
from monai_nce.networks import Generator
from monai_nce.phantom import ensure_phantom_dataset, write_phantom_dataset
from monai_nce.precision import best_precision, plain_fp32

__all__ = ["PARTS", "main"]

PAPER_SPACING_MM = 1.3333
TEST_PATIENT = 21
CHECKPOINT = CONFIGS.parent / "models" / "model.pt"


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _shipped(device: torch.device) -> Generator:
    """The small generator with the bundle's weights."""
    definition = json.loads((CONFIGS / "inference.json").read_text(encoding="utf-8"))["network_def"]
    network = Generator(channels=definition["channels"], hidden_channels=definition["hidden_channels"], residual=True)
    network.load_state_dict(torch.load(CHECKPOINT, map_location=device, weights_only=True))
    return network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def _paper(arguments: argparse.Namespace) -> tuple[torch.nn.Module, Path]:
    """The paper's generator, trained for minutes, and its weights' file."""
    torch.manual_seed(0)
    path = arguments.folder / f"paper_{arguments.iterations}.pt"
    return trained_briefly(Generator(), path, 128, arguments.iterations, _device()), path


def forwards(arguments: argparse.Namespace) -> dict[str, Any]:
    """Passes of both networks per backend, and MONAI's ``SPADENet``."""
    device, paper = _device(), _paper(arguments)
    small = (_shipped(device), arguments.folder / "shipped.pt")
    result = {}
    for name, (network, path), size in (("shipped", small, 128), ("paper", paper, 128), ("paper", paper, 256)):
        source, _ = phantom_stacks(TEST_PATIENT, size, 16)
        largest = size == 256
        result[f"{name} {size}"] = measure_forwards(
            network, source.to(device), path, 4, 3 * arguments.rounds, compile_too=largest
        )
    network, size = paper[0], 256
    peer = spade_peer([512, 512, 256, 128, 64, 32], 128, size)
    peer = peer.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.rand(4, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)

    def timed(net: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                net(x)
            if device.type == "cuda":
                torch.cuda.synchronize()

        return run

    times = in_turns({"generator": timed(network), "SPADENet": timed(peer)}, arguments.rounds)
    result["peer"] = {
        name: {
            "seconds": spread(times[name]),
            "gflop_per_stack": gflop(net, x[:1]),
            "parameters": sum(p.numel() for p in net.parameters()),
        }
        for name, net in (("generator", network), ("SPADENet", peer))
    }
    return result


def volume(arguments: argparse.Namespace) -> dict[str, Any]:
    """Volumes of 256 x 256 x 120 from file to file with the backend whose forward passes were the fastest."""
    network, path = _paper(arguments)
    backend, precision = (arguments.backend or "torch bf16").split()
    image = phantom_volume(arguments.folder / "volume_256x120.nii.gz", 256, 120, PAPER_SPACING_MM)
    folder = arguments.folder / "synthetic"
    return measure_volume(network, image, path, folder, backend, precision, arguments.rounds)


def strides(arguments: argparse.Namespace) -> dict[str, Any]:
    """What stride 3 costs, on the phantom's test patients with the shipped weights."""
    items = read_datalist(ensure_phantom_dataset(arguments.folder.parent / "phantom"), "test")
    return measure_strides(_shipped(torch.device("cpu")), items)


def training(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both stages with the default settings, and in bf16 where the processor computes in it; a turn varies by a tenth.

    On a GPU at the paper's size in bf16 as well, with and without compile.
    """
    small = ensure_phantom_dataset(arguments.folder.parent / "phantom")
    result: dict[str, Any] = {"default": measure_training(small, 20, 4 * arguments.rounds)}
    if best_precision(_device().type) == "bf16":
        result["default bf16"] = measure_training(small, 20, 4 * arguments.rounds, precision="bf16")
    if _device().type == "cuda":
        large = arguments.folder / "phantom_256"
        if not (large / "datalist.json").is_file():
            write_phantom_dataset(large, patients=8, size=256, slices=64)
        peak = matmul_peak(_device(), torch.bfloat16, 8192)
        result["bf16_matmul_tflops"] = peak
        for compile_ in (False, True):
            name = "paper bf16" + " compiled" * compile_
            made = measure_training(large, 30, arguments.rounds, ("paper_ct",), precision="bf16", compile=compile_)
            for stage in made.values():
                stage["part_of_peak"] = stage["tflops"] / peak
            result[name] = made
    return result


def compiling(arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``compile`` gains the training with the default settings, where there is a compiler."""
    small, device = ensure_phantom_dataset(arguments.folder.parent / "phantom"), _device()
    if missing_for_compile(device.type):
        return {}
    precisions = ["fp32", *(["bf16"] if best_precision(device.type) == "bf16" else [])]
    return {
        f"default {precision}": measure_compile(small, 20, 2 * arguments.rounds, precision=precision)
        for precision in precisions
    }


def loader(arguments: argparse.Namespace) -> dict[str, Any]:
    """Stacks a second at 256 x 256, and memory with 10 and with 300 patients."""
    patients = sparse_patients(arguments.folder / "sparse", 300, 256, 60)
    phantom = read_datalist(ensure_phantom_dataset(arguments.folder.parent / "phantom"), "training")
    return {
        "stacks_per_second": {
            f"{name}, {n} workers": measure_loader(items, 4, n)
            for name, items in (("phantom 128", phantom), ("sparse 256", patients[:20]))
            for n in (0, 2)
        },
        "memory": {f"{n} patients": measure_memory(patients[:n]) for n in (10, 300)},
    }


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "forwards": forwards,
    "volume": volume,
    "strides": strides,
    "training": training,
    "compiling": compiling,
    "loader": loader,
}


def _fastest(measured: dict[str, Any]) -> str:
    """Of the backends that inference offers, such as ``openvino bf16``."""
    rows = measured["paper 256"]["backends"]
    offered = [name for name in rows if name.partition(" ")[0] in BACKENDS]
    return min(offered, key=lambda name: rows[name]["seconds"]["median"])


def _lines(part: str, result: dict[str, Any]) -> list[str]:
    """A part's figures for people."""
    lines = []
    if part == "forwards":
        for name, measured in result.items():
            if name == "peer":
                ours, theirs = (measured[key] for key in ("generator", "SPADENet"))
                per = [row["seconds"]["median"] / row["gflop_per_stack"] for row in (ours, theirs)]
                lines.append(
                    f"generator and MONAI's SPADENet, 256, eager fp32: {ours['seconds']['median']:.3f} s and "
                    f"{theirs['seconds']['median']:.3f} s a batch, {per[1] / per[0]:.2f} times faster per operation"
                )
                continue
            lines.append(f"{name}, batches of {measured['batch_size']}, against eager PyTorch in fp32:")
            for backend, row in measured["backends"].items():
                times, ratio = row["seconds"], row["faster"]
                busy = f", keeps {row['busy']:.2f} of it beside a busy process" if "busy" in row else ""
                lines.append(
                    f"  {backend:20} {times['median']:.4f} s ({times['low']:.4f} to {times['high']:.4f}), "
                    f"{ratio['median']:.2f}x ({ratio['low']:.2f} to {ratio['high']:.2f}), fastest turns compared "
                    f"{row['at_best']:.2f}x{busy}; off by "
                    f"{row['mean_hu']:.3f} HU on average, 99.9 % below {row['p999_hu']:.2f}"
                )
    elif part == "volume":
        lines.append(f"a volume of {' x '.join(map(str, result['volume']))} by {result['backend']}:")
        for name, row in result["seconds"].items():
            lines.append(
                f"  {name:32} {row['median']:.2f} s ({row['low']:.2f} to {row['high']:.2f}), "
                f"{result['faster_than_eager'][name]['median']:.1f}x"
            )
        for name, row in result["over_forwards"].items():
            lines.append(f"  {name}, over its forwards: {row['median']:.3f} ({row['low']:.3f} to {row['high']:.3f})")
        for name, row in result["off"].items():
            lines.append(f"  {name}: off by {row['mean_hu']:.3f} HU on average, 99.9 % below {row['p999_hu']:.2f}")
    elif part == "strides":
        for stride, row in result["strides"].items():
            lines.append(f"stride {stride}: MSE {row['mse']:.5f}, {row['mean_hu_from_stride_1']:.2f} HU from stride 1")
    elif part == "training":
        for name, stages in result.items():
            for stage, row in stages.items() if isinstance(stages, dict) else ():
                share = f", {row['part_of_peak']:.1%} of the bf16 peak" if "part_of_peak" in row else ""
                lines.append(
                    f"{name}, {stage}: {row['images_per_second']:.1f} stacks/s, "
                    f"{row['part_of_bare']['median']:.3f} of the bare loop's speed "
                    f"({row['part_of_bare']['low']:.3f} to {row['part_of_bare']['high']:.3f}){share}"
                )
    elif part == "compiling":
        for name, stages in result.items():
            for stage, row in stages.items():
                ratio = row["faster"]
                lines.append(
                    f"{name}, {stage}, compiled: {ratio['median']:.2f}x ({ratio['low']:.2f} to {ratio['high']:.2f}) "
                    f"after {row['compiling_s']:.0f} s of compilation"
                )
    else:
        for name, value in result["stacks_per_second"].items():
            lines.append(f"loader, {name}: {value:.0f} stacks/s")
        for name, value in result.get("times_faster_than_training", {}).items():
            lines.append(f"loader, {name}: {value:.0f} times what the faster stage of the default training takes")
        for name, row in result["memory"].items():
            lines.append(f"loader, {name}: {row['after_mib']:.0f} MiB, {row['open_files']} open files")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was measured after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--rounds",
        type=int,
        default=7,
        help="turns of each candidate, three times as many of forward passes, four times as many of small trainings",
    )
    parser.add_argument("--iterations", type=int, default=600, help="of the brief training")
    parser.add_argument(
        "--backend",
        help="and number format of the volumes, such as 'openvino bf16'; else the fastest in this run's passes, "
        "or 'torch bf16'",
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/speed"), help="for weights and volumes")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    plain_fp32()
    device = _device()
    result: dict[str, Any] = {
        "hardware": host() | ({"gpu": torch.cuda.get_device_name()} if device.type == "cuda" else {}),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    for part in given.only:
        result[part] = PARTS[part](given)
        if part == "forwards":
            given.backend = given.backend or _fastest(result[part])
        if part == "loader" and "training" in result:
            fastest = max(stage["images_per_second"] for stage in result["training"]["default"].values())
            result[part]["times_faster_than_training"] = {
                name: value / fastest
                for name, value in result[part]["stacks_per_second"].items()
                if name.startswith("phantom 128")
            }
        print(*_lines(part, result[part]), sep="\n", flush=True)
        if given.out:
            write_json(given.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
