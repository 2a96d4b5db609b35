"""How much of the misalignment each registration takes away, where the truth is known.

    python -m benchmarks.registration [--data DIR] [--methods NAME ...] [--seed S] [--out FILE]

For each training pair the squared error, within the window on [-1, 1], between the registered source and the aligned
one, which a phantom has. Beside it stands the floor, the source left where it is, and the CPU seconds that each method
takes. Noise alone, and what is nowhere in the moving scan, leave an error that no method can remove.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from tqdm import tqdm

from benchmarks.hardware import host
from data_prep.registration import METHODS, make_registration
from monai_nce.data import read_datalist, write_json
from monai_nce.phantom import ensure_phantom_dataset
from monai_nce.transforms.window import WindowHU

UNREGISTERED = "unregistered"


def measure(
    dataset_dir: str | os.PathLike[str],
    methods: Sequence[str] = METHODS,
    *,
    window_level: float = 50.0,
    window_width: float = 300.0,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, Any]:
    """Register the training pairs of a data set by each method.

    Args:
        dataset_dir: data set whose training items have an aligned source.
        methods: which of ``affine``, ``bspline``, ``voxelmorph``.
        window_level: centre of the window in HU.
        window_width: width of the window in HU.
        seed: seed of the methods.
        progress: show bars.

    Returns:
        Per method, and for ``unregistered``: mean ``mse`` over patients, that of each patient (``mse_per_patient``),
        ``seconds_to_learn`` and ``seconds_per_patient`` of CPU time, and the ``settings``; and the hardware.

    Raises:
        InputError: if the data set cannot be used or lacks an aligned source.
    """
    items = read_datalist(dataset_dir, "training", ("source", "target", "aligned_source"))
    window = WindowHU(window_level, window_width)

    def error(volume: np.ndarray, truth: np.ndarray) -> float:
        return float((window(volume) - window(truth)).square().mean())

    truths = [_voxels(item["aligned_source"]) for item in items]
    pairs = [(_voxels(i["target"]), _voxels(i["source"]), _spacing(i["source"])) for i in items]
    errors = [error(moving, truth) for (_, moving, _), truth in zip(pairs, truths, strict=True)]
    rows: dict[str, Any] = {UNREGISTERED: _row(items, errors)}
    for name in methods:
        method = make_registration(
            name, window_level=window_level, window_width=window_width, seed=seed, progress=progress
        )
        start = time.process_time()
        method.fit(pairs)
        learnt = time.process_time()
        moved = [method.register(*pair) for pair in tqdm(pairs, desc=name, unit="patient", disable=not progress)]
        seconds = (time.process_time() - learnt) / len(pairs)
        errors = [error(volume, truth) for volume, truth in zip(moved, truths, strict=True)]
        rows[name] = {
            **_row(items, errors),
            "seconds_to_learn": round(learnt - start, 1) if method.learns else 0.0,
            "seconds_per_patient": round(seconds, 2),
            "settings": method.settings(),
        }
    return {
        "hardware": host(),
        "patients": len(items),
        "window_hu": [window_level - window_width / 2, window_level + window_width / 2],
        "seed": seed,
        "methods": rows,
    }


def _row(items: Sequence[dict[str, str]], errors: Sequence[float]) -> dict[str, Any]:
    return {
        "mse": statistics.fmean(errors),
        "mse_per_patient": {item["patient"]: error for item, error in zip(items, errors, strict=True)},
    }


def _voxels(path: str) -> np.ndarray:
    return np.asanyarray(nib.Nifti1Image.from_filename(path).dataobj)


def _spacing(path: str) -> list[float]:
    return [float(side) for side in voxel_sizes(nib.Nifti1Image.from_filename(path).affine)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="default: the phantom in runs/phantom, made if missing")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    dataset_dir = arguments.data or ensure_phantom_dataset(Path("runs/phantom"))
    result = measure(dataset_dir, arguments.methods, seed=arguments.seed)
    print("| method | MSE on [-1, 1] | of unregistered | CPU seconds to learn | CPU seconds per patient |")
    print("| --- | --- | --- | --- | --- |")
    floor = result["methods"][UNREGISTERED]["mse"]
    for name, row in result["methods"].items():
        learn, apply = row.get("seconds_to_learn", 0.0), row.get("seconds_per_patient", 0.0)
        print(f"| {name} | {row['mse']:.4f} | {row['mse'] / floor:.0%} | {learn:.0f} | {apply:.1f} |")
    if arguments.out:
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
