"""Estimate what training at the paper's size costs: floating-point operations of each stage, and hours on a GPU.

    python -m benchmarks.paper_cost [--tflops 5] [--out FILE]

One iteration of each stage runs at full size on the CPU under PyTorch's operation counter; iterations and epochs are
the paper's (4.1, 4.3.1, 4.4.1). Only convolutions and matrix products count, and the speed that a GPU keeps up is
assumed, not measured.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plan import METHODS
from benchmarks.training import make_trainers
from monai_nce.data import write_json
from monai_nce.phantom import write_phantom_dataset

__all__ = ["main", "operations"]

COUNTED = ("separate", "joint", "single", "cycle", "regression")
# training stacks (one per slice): 19,180 pairs of CT (4.3.1); of IXI 80 % of 566 subjects, 64 slices each (4.4.1)
STACKS = {"paper": 19180, "paper_ixi": round(0.8 * 566) * 64}
BATCH = 4


def operations(method: str, preset: str, dataset_dir: Path, **overrides: Any) -> dict[str, dict[str, float]]:
    """Count each stage's operations, on a data set of the preset's size: of an iteration, and of all epochs."""
    counted = {}
    configs = (*METHODS.get(method, [method]), *dict.fromkeys(["paper", preset]))
    given = {"num_workers": 0, **{f"{stage}#handlers": [] for stage in ("classifier", "stage1", "stage2")}, **overrides}
    with tempfile.TemporaryDirectory() as output_dir:
        for stage, trainer in make_trainers(dataset_dir, output_dir, *configs, **given).items():
            iterations = trainer.state.max_epochs * (STACKS[preset] // BATCH)
            trainer.state.epoch_length, trainer.state.max_epochs = 1, 1
            with FlopCounterMode(display=False) as counter:
                trainer.run()
            tflop = counter.get_total_flops() / 1e12
            pflop = tflop * iterations / 1e3
            counted[stage] = {"tflop_per_iteration": tflop, "iterations": iterations, "pflop": pflop}
    return counted


def main() -> None:
    """Print what the paper's training costs and, with ``--out``, write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_cost", description=main.__doc__)
    parser.add_argument("--tflops", type=float, default=5.0, help="assumed speed of the GPU (default: 5)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON to write")
    options = parser.parse_args()
    result: dict[str, Any] = {"tflops_assumed": options.tflops, "torch": torch.__version__}
    for preset, size in (("paper", 256), ("paper_ixi", 128)):
        with tempfile.TemporaryDirectory() as folder:
            data = write_phantom_dataset(Path(folder) / "set", patients=2, size=size, slices=4, progress=False)
            result[preset] = {method: {"stages": operations(method, preset, data)} for method in COUNTED}
        for method, row in result[preset].items():
            row["pflop"] = sum(stage["pflop"] for stage in row["stages"].values())
            row["hours"] = row["pflop"] * 1e3 / options.tflops / 3600
            print(f"{preset} {method:10} {row['pflop']:7.0f} PFLOP {row['hours']:6.1f} h at {options.tflops:g} TFLOP/s")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
