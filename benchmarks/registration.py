"""Measure how much of the misalignment each registration removes, where the truth is known.

    python -m benchmarks.registration [--data DIR] [--methods NAME ...] [--seed S] [--out FILE]

For each training pair: the squared error, within the window on [-1, 1], between the registered source and the aligned
one, which a phantom has; for comparison, that of the source left where it is, and the CPU seconds of each method.
Noise, and what the moving scan does not show at all, leave an error that no method can remove.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from tqdm import tqdm

from benchmarks.hardware import host
from benchmarks.markdown import markdown_table
from data_prep.registration import METHODS, make_registration
from monai_nce.data import read_datalist, write_json
from monai_nce.phantom import ensure_phantom_dataset
from monai_nce.transforms.window import WindowHU

__all__ = ["main", "measure"]

UNREGISTERED = "unregistered"


def measure(dataset_dir: str | os.PathLike[str], methods: Sequence[str] = METHODS, *, seed: int = 0) -> dict[str, Any]:
    """Register training pairs in the paper's CT window; return errors, CPU seconds and ``settings`` by method."""
    items = read_datalist(dataset_dir, "training", ("source", "target", "aligned_source"))
    window = WindowHU()
    truths = [window(_load(item["aligned_source"])[0]) for item in items]
    pairs = [(_load(item["target"])[0], *_load(item["source"])) for item in items]

    def row(volumes: Sequence[np.ndarray]) -> dict[str, Any]:
        errors = [float((window(v) - truth).square().mean()) for v, truth in zip(volumes, truths, strict=True)]
        patients = [item["patient"] for item in items]
        return {"mse": float(np.mean(errors)), "mse_per_patient": dict(zip(patients, errors, strict=True))}

    rows = {UNREGISTERED: row([source for _, source, _ in pairs])}
    for name in methods:
        method = make_registration(name, seed=seed)
        start = time.process_time()
        method.fit(pairs)
        learnt = time.process_time()
        moved = [method.register(*pair) for pair in tqdm(pairs, desc=name, unit="patient")]
        rows[name] = {
            "seconds_per_patient": round((time.process_time() - learnt) / len(pairs), 2),
            "seconds_to_learn": round(learnt - start, 1) if method.learns else 0.0,
            "settings": method.settings(),
            **row(moved),
        }
    return {"hardware": host(), "seed": seed, "methods": rows}


def _load(path: str) -> tuple[np.ndarray, list[float]]:
    image = nib.Nifti1Image.from_filename(path)
    return np.asanyarray(image.dataobj), [float(side) for side in voxel_sizes(image.affine)]


def main() -> None:
    """Measure, print a table and, with ``--out``, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="default: the phantom in runs/phantom, made if missing")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    result = measure(options.data or ensure_phantom_dataset(Path("runs/phantom")), options.methods, seed=options.seed)
    lines = []
    for name, row in result["methods"].items():
        part = row["mse"] / result["methods"][UNREGISTERED]["mse"]
        seconds = [row.get(f"seconds_{what}", 0) for what in ("to_learn", "per_patient")]
        lines.append([name, f"{row['mse']:.4f}", f"{part:.0%}", f"{seconds[0]:.0f}", f"{seconds[1]:.1f}"])
    head = ["method", "MSE on [-1, 1]", "of unregistered", "CPU seconds to learn", "CPU seconds per patient"]
    print(markdown_table(head, lines))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
