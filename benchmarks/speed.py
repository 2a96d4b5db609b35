"""Measure the speed of every part against what it is to be compared with, in one run.

    python -m benchmarks.speed [--only forwards volume training loader contention] [--rounds N] [--out FILE]

Candidates take turns: medians, lowest and highest are printed, and written with ``--out`` after each part. Leave the
machine alone meanwhile. The paper's network is trained for some minutes first, as the rounding errors of random weights
mean nothing; its weights are kept in ``--folder``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cell import CONFIGS
from benchmarks.contention import measure_contention
from benchmarks.forwards import measure_forwards
from benchmarks.hardware import host
from benchmarks.training import measure_loader, measure_training, phantom_stacks, trained_briefly
from benchmarks.volumes import measure_volume, phantom_volume
from monai_nce.data import write_json
from monai_nce.handlers import TrainedFor
from monai_nce.inferers import BACKENDS
from monai_nce.networks import Generator
from monai_nce.phantom import ensure_phantom_dataset
from monai_nce.precision import best_precision, plain_fp32

__all__ = ["PARTS", "main"]

TEST_PATIENT = 21
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CHECKPOINT = CONFIGS.parent / "models" / "model.pt"


def _shipped(folder: Path) -> tuple[Generator, Path]:
    """Return the bundle's generator with its weights, and a copy of their file to put an export beside."""
    said = TrainedFor.read(CHECKPOINT).network or {}
    network = Generator(**{name: value for name, value in said.items() if name != "_target_"})
    network.load_state_dict(torch.load(CHECKPOINT, weights_only=True))
    return network.to(DEVICE).eval(), Path(shutil.copy(CHECKPOINT, folder / "shipped.pt"))


def forwards(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the passes of both networks by each backend."""
    torch.manual_seed(0)
    path = arguments.folder / f"paper_{arguments.iterations}.pt"
    trained = trained_briefly(Generator(), path, 128, arguments.iterations, DEVICE)
    paper = trained.to(memory_format=torch.contiguous_format), path  # type: ignore[call-overload]
    settings = ("shipped", _shipped(arguments.folder), 128), ("paper", paper, 128), ("paper", paper, 256)
    result = {}
    for name, (network, path), size in settings:
        source = phantom_stacks(TEST_PATIENT, size, 16)[0].to(DEVICE)
        result[f"{name} {size}"] = measure_forwards(network, source, path, 4, 3 * arguments.rounds)
    return result


def volume(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure one scan of 256 x 256 x 120 with the shipped weights."""
    network, path = _shipped(arguments.folder)
    image = phantom_volume(arguments.folder / "volume_256x120.nii.gz", 256, 120, 1.3333)
    result = {}
    for kind in BACKENDS if DEVICE.type == "cpu" else ("torch",):
        name = f"{kind} {best_precision(DEVICE.type)}"
        result[name] = measure_volume(network, image, path, arguments.folder / "synthetic", name, arguments.rounds)
    return result


def training(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure both stages with the default settings, and in bf16 where the processor computes in it."""
    small = ensure_phantom_dataset(arguments.folder.parent / "phantom")
    result: dict[str, Any] = {"default": measure_training(small, 20, 4 * arguments.rounds)}
    if best_precision(DEVICE.type) == "bf16":
        result["default bf16"] = measure_training(small, 20, 4 * arguments.rounds, precision="bf16")
    return result


def loader(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the stacks a second that the default training's loader gives."""
    small = ensure_phantom_dataset(arguments.folder.parent / "phantom")
    return {"stacks_per_second": {f"{n} workers": measure_loader(small, n) for n in (0, 2)}}


def contention(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the default generator's training and inference beside 0, 1 and 2 busy processes."""
    network, _ = _shipped(arguments.folder)
    network.cpu().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return measure_contention(network, phantom_stacks(TEST_PATIENT, 128, 16)[0][6:10], 2.0 * arguments.rounds)


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    part.__name__: part for part in (forwards, volume, training, loader, contention)
}


def _lines(name: str, rows: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each row of figures, whatever the depth they stand at."""
    deeper = {key: value for key, value in rows.items() if isinstance(value, dict) and "median" not in value}
    if figures := {key: value for key, value in rows.items() if key not in deeper}:
        yield f"{name}: " + ", ".join(f"{key} {_shown(value)}" for key, value in figures.items())
    for key, value in deeper.items():
        yield from _lines(f"{name}, {key}", value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write what was measured after each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7, help="turns of a volume; three times as many of passes")
    parser.add_argument("--iterations", type=int, default=600, help="of the brief training")
    parser.add_argument("--folder", type=Path, default=Path("runs/speed"), help="for weights and volumes")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    plain_fp32()
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    result: dict[str, Any] = {"hardware": host() | gpu, "torch": torch.__version__, "threads": torch.get_num_threads()}
    for part in given.only:
        result[part] = PARTS[part](given)
        print(*_lines(part, result[part]), sep="\n", flush=True)
        if given.out:
            write_json(given.out, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
