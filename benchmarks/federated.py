"""Compare training at each site alone, over all sites by federated averaging, and on their pooled data.

python -m benchmarks.federated --data DIR [--sites 2 4] [--resume] [-o runs/federated] [--out docs/results/federated]

``DIR`` is made by ``python -m data_prep virtual --hold_out`` of two label maps. Sites 1, 3, ... get patients of the
first one, sites 2, 4, ... of the second; a site more, of both, takes no part in training. To be run in the environment
of ``integrations/nvflare``, whose simulator it starts. Every network is tested on all test patients, against aligned
truth. The oracle, trained on aligned pairs, is trained over the fewest sites alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from benchmarks.cell import initialize
from benchmarks.hardware import describe_hardware
from benchmarks.markdown import markdown_table
from monai_nce.data.files.atomic import write_json

JOB = Path(__file__).parents[1] / "integrations" / "nvflare" / "job.py"
ROLES = ("source", "target", "aligned_source", "labels")
PATIENTS = {"training": 6, "validation": 1, "test": 3}  # of a site, in this order
LEFT_OUT = "left out"
ROUNDS = {"classifier": 1, "stage1": 6, "stage2": 5}  # of one epoch; the others train as many epochs in one go
SETTINGS: dict[str, Any] = {  # small networks, for a table that takes an hour of one core
    "network_def#channels": [32, 32, 32, 16, 16],
    "network_def#hidden_channels": 16,
    "discriminator_def#channels": [16, 32, 32, 32, 32],
    "domain_classifier_def#channels": [8, 16, 32, 32, 32],
    "stage1#generator_optimizer#lr": 0.0005,
    "stage1#discriminator_optimizer#lr": 0.0005,
    "stage1#generator_lr_scheduler#gamma": 0.8,
    "stage1#discriminator_lr_scheduler#gamma": 0.8,
}


def make_sites(data: Path, count: int, thin: int, out: Path) -> dict[str, list[str]]:
    """Write the sites' data sets, and ``test`` with the test patients of all; return these patients by site.

    Args:
        data: data set with two anatomies, that of its ``test`` patients and that of the others.
        count: sites that train.
        thin: every so many pixels and slices are taken, in each direction.
        out: folder of the data sets.
    """
    content = json.loads((data / "datalist.json").read_text(encoding="utf-8"))
    anatomies = [content["training"] + content["validation"], content["test"]]
    queues = [iter(sorted(items, key=lambda item: item["patient"])) for items in anatomies]
    tested: dict[str, list[Mapping[str, Any]]] = {}
    for number in range(count):
        name, queue = f"site-{number + 1}", queues[number % 2]
        parts = {split: [next(queue) for _ in range(many)] for split, many in PATIENTS.items()}
        _write(content, parts, data, out / name, thin)
        tested[name] = parts["test"]
    tested[LEFT_OUT] = [item for queue in queues for item in list(queue)[-4:]]
    every = [item for items in tested.values() for item in items]
    _write(content, {"training": [], "validation": [], "test": every}, data, out / "test", thin)
    return {site: [item["patient"] for item in items] for site, items in tested.items()}


def pool(sites: Sequence[Path], out: Path) -> None:
    """Write a data set with the patients of several, whose names differ."""
    contents = [json.loads((site / "datalist.json").read_text(encoding="utf-8")) for site in sites]
    for site in sites:
        shutil.copytree(site / "volumes", out / "volumes", dirs_exist_ok=True)
    parts = {split: [item for content in contents for item in content[split]] for split in PATIENTS}
    write_json(out / "datalist.json", {**contents[0], **_counts(parts), **parts})


def _counts(parts: Mapping[str, Sequence[Any]]) -> dict[str, int]:
    return {f"num{split.capitalize()}": len(items) for split, items in parts.items()}


def _write(
    content: Mapping[str, Any], parts: Mapping[str, list[Mapping[str, Any]]], data: Path, out: Path, thin: int
) -> None:
    (out / "volumes").mkdir(parents=True, exist_ok=True)
    for item in (item for items in parts.values() for item in items):
        for role in ROLES:
            image: Any = nib.load(data / item[role])
            nib.save(image.slicer[::thin, ::thin, ::thin], out / item[role])
    write_json(out / "datalist.json", {**content, **_counts(parts), **parts})


def train(data: Path, out: Path, seed: int, *overlays: str) -> float:
    """Train both stages on a data set, in one go; return the seconds."""
    epochs = {f"{stage}#max_epochs": rounds for stage, rounds in ROUNDS.items()}
    given = {**SETTINGS, **epochs, "dataset_dir": str(data), "output_dir": str(out), "seed": seed}
    start = time.monotonic()
    workflow = initialize(["train", *overlays], run_id="training", **given, resume=True)
    workflow.run()
    workflow.finalize()
    return time.monotonic() - start


def federate(sites: Sequence[Path], out: Path, size: int, seed: int) -> float:
    """Train both stages over the sites in NVFlare's simulator; return the seconds."""
    settings = [f"{key}={value}" for key, value in {**SETTINGS, "seed": seed}.items()]
    command = [sys.executable, str(JOB), "--data", *map(str, sites), "--size", str(size), "-o", str(out)]
    start = time.monotonic()
    if out.exists():
        shutil.rmtree(out)
    subprocess.run([*command, "--rounds", *map(str, ROUNDS.values()), "--set", *settings], check=True)
    return time.monotonic() - start


def evaluate(weights: Path, data: Path, out: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Evaluate weights on all test patients; return MSE and MAE by row and patient."""
    given = {**SETTINGS, "dataset_dir": str(data), "output_dir": str(out), "checkpoint": str(weights)}
    workflow = initialize(["train", "evaluate"], run_id="evaluating", **given)
    workflow.run()
    workflow.finalize()
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with open(out / "metrics.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            name = "identity" if row["method"] == "identity" else "synthetic"
            rows.setdefault(name, {})[row["patient"]] = {key: float(row[key]) for key in ("mse", "mae_hu")}
    return rows


def summary(cells: Mapping[str, Any], tested: Mapping[str, list[str]], count: int) -> dict[str, dict[str, float]]:
    """Average the errors over patients, and over the networks of a row; ``count`` sites took part."""
    sites = [f"site-{number + 1}" for number in range(count)]
    own = [patient for site in sites for patient in tested[site]]
    away = tested[LEFT_OUT]

    def mean(pairs: Sequence[tuple[str, str]], row: str) -> dict[str, float]:
        values = [cells[cell][row][patient] for cell, patient in pairs]
        return {key: statistics.fmean(value[key] for value in values) for key in ("mse", "mae_hu") if values}

    rows = {
        "identity": ([(f"local {sites[0]}", p) for p in own], [(f"local {sites[0]}", p) for p in away]),
        "local": (
            [(f"local {site}", p) for site in sites for p in tested[site]],
            [(f"local {site}", p) for site in sites for p in away],
        ),
        "local, at the other sites": (
            [(f"local {s}", p) for s in sites for o in sites if o != s for p in tested[o]],
            [],
        ),
        **{
            row: ([(f"{row} {count}", p) for p in own], [(f"{row} {count}", p) for p in away])
            for row in ("federated", "pooled", "oracle")
        },
    }
    return {
        name: {
            f"{key} {where}": value
            for where, pairs in zip(("sites", LEFT_OUT), both, strict=True)
            for key, value in mean(pairs, "identity" if name == "identity" else "synthetic").items()
        }
        for name, both in rows.items()
        if all(cell in cells for pairs in both for cell, _ in pairs)
    }


def table(result: Mapping[str, Any]) -> str:
    """Lay out the result in Markdown."""
    head = ["sites", "trained", "MSE, sites", "MAE in HU, sites", "MSE, left out", "MAE in HU, left out"]
    rows = [
        [count, name, *(
            f"{row[f'{key} {where}']:{'.4f' if key == 'mse' else '.1f'}}" if f"{key} {where}" in row else "–"
            for where in ("sites", LEFT_OUT) for key in ("mse", "mae_hu"))]
        for count, found in result["tables"].items()
        for name, row in found.items()
    ]  # fmt: skip
    about = result["about"]
    tested = about["tested"]
    return (
        f"# Federated, pooled, local\n\n{markdown_table(head, rows)}\n\n"
        f"Means over test patients, {tested['site-1']} at each site and {tested[LEFT_OUT]} at the one left out; "
        f"{about['text']}\n\n`{about['command']}`, seed {about['seed']}, {about['hardware']}.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="of `data_prep virtual --hold_out`")
    parser.add_argument("--sites", type=int, nargs="+", default=[2, 4], help="how many sites (default: 2 and 4)")
    parser.add_argument("--thin", type=int, default=2, help="take every so many pixels and slices (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="keep what is finished in the output folder")
    parser.add_argument("-o", "--output_dir", type=Path, default=Path("runs/federated"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/federated"), help="of the .json and the .md")
    args = parser.parse_args()
    root: Path = args.output_dir
    if root.exists() and not args.resume:
        parser.error(f"{root}: is there already; --resume goes on with it")
    most = max(args.sites)
    tested = make_sites(args.data, most, args.thin, root / "data")
    first = next((root / "data" / "site-1" / "volumes").glob("*_target.nii"))
    size = nib.load(first).shape[0]  # type: ignore[attr-defined]
    cells: dict[str, Any] = json.loads((root / "cells.json").read_text()) if (root / "cells.json").exists() else {}
    folders = [root / "data" / f"site-{number + 1}" for number in range(most)]

    def cell(name: str, weights: Path, seconds: float) -> None:
        found = evaluate(weights, root / "data" / "test", root / "evaluated" / name.replace(" ", "_"))
        cells[name] = {**found, "seconds": round(seconds)}
        write_json(root / "cells.json", cells)

    for count in sorted(args.sites):
        pooled = root / "data" / f"pooled-{count}"
        pool(folders[:count], pooled)
        if f"federated {count}" not in cells:
            out = root / f"federated-{count}"
            cell(f"federated {count}", out / "global" / "model.pt", federate(folders[:count], out, size, args.seed))
        if f"pooled {count}" not in cells:
            out = root / f"pooled-{count}"
            cell(f"pooled {count}", out / "models" / "model.pt", train(pooled, out, args.seed))
        for folder in folders[:count]:
            if f"local {folder.name}" not in cells:
                out = root / "local" / folder.name
                cell(f"local {folder.name}", out / "models" / "model.pt", train(folder, out, args.seed))
        if count == min(args.sites) and f"oracle {count}" not in cells:
            out = root / f"oracle-{count}"
            seconds = train(pooled, out, args.seed, "regression", "oracle")
            cell(f"oracle {count}", out / "models" / "model.pt", seconds)
        text = (
            f"each site has {PATIENTS['training']} training patients; every {args.thin}nd pixel and slice. Epochs: "
            f"{', '.join(f'{stage} {rounds}' for stage, rounds in ROUNDS.items())}."
        )
        about = {
            "tested": {site: len(patients) for site, patients in tested.items()},
            "text": text,
            "command": "python -m benchmarks.federated --data DIR",
            "seed": args.seed,
            "rounds": ROUNDS,
            "settings": SETTINGS,
            "data": json.loads((args.data / "datalist.json").read_text(encoding="utf-8"))["provenance"],
            "hardware": describe_hardware(jobs=1, threads=1),
        }
        tables = {str(one): summary(cells, tested, one) for one in sorted(args.sites) if one <= count}
        result = {"about": about, "tables": tables, "cells": cells}
        args.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(args.out.with_suffix(".json"), result)
        args.out.with_suffix(".md").write_text(table(result), encoding="utf-8")
        print(args.out.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
