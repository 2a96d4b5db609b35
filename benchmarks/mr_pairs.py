"""Leave one patient out after the other, on real pairs of T1 before and after gadolinium, with the paper's distortion.

    python -m benchmarks.mr_pairs [--source PATH --target PATH] [--methods …] [--distortions …] [--seeds …] [--resume]

Without paths, the four patients in ``mr_contrast`` of the folder ``NCE_REAL_DATA``: ms07 and ms19 of
muschellij2/open_ms_data (Lesjak et al. 2017; CC BY), glioma1 and aurora of BrainLesion/tutorials (Apache-2.0).

Every cell (patient left out, method, distortion, seed) is trained on the others and evaluated on that one, as those of
:mod:`benchmarks.table1` are. After each, ``mr_pairs.json`` and ``mr_pairs.md`` are written anew, and at the end the
figures of each patient. A stopped run goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cell import Cell
from benchmarks.figures import draw_figures
from benchmarks.hardware import describe_hardware
from benchmarks.markdown import markdown_table
from benchmarks.plan import METHODS, plan
from benchmarks.region_errors import measure_regions
from benchmarks.run_cells import add_options, read_overrides, run_cells, run_or_say, share_cores
from benchmarks.scan_catalogue import real_data
from benchmarks.weights import Weights
from data_prep.arguments import add_licence, add_number
from data_prep.patient_pattern import FIELD, find_scans
from monai_nce.data import atomic_path, write_json
from monai_nce.errors import InputError

__all__ = ["leave_one_out", "main", "markdown", "table_rows"]

DISTORTIONS = [0.0, 0.02, 0.05]
LICENCE = "open_ms_data (Lesjak et al. 2017), CC BY; BrainLesion tutorials, Apache-2.0"
REGIONS_FILE = "regions.json"  # of a cell
IDENTITY = "identity"
COLUMNS = {
    "mse": ("MSE × 100", 100, 3),
    "ms_ssim": ("MS-SSIM", 1, 4),
    "head": ("head: MSE × 100", 100, 3),
    "enhancing": ("enhancing: MSE × 100", 100, 2),
    "rise": ("enhancing: rise shown, %", 100, 0),
}


def leave_one_out(
    patients: Iterable[str],
    scans: Mapping[str, Any],
    methods: Sequence[str] | None,
    distortions: Sequence[float],
    seeds: Sequence[int],
    out_dir: Path,
    overrides: Mapping[str, Any] | None = None,
) -> dict[str, list[Cell]]:
    """Plan the cells of each patient that is left out, in a folder of the patient's name.

    Args:
        patients: those that are left out, one after the other.
        scans: arguments of :func:`data_prep.mr_pairs.prepare_mr_pairs`.
        methods, distortions, seeds, overrides: as for :func:`benchmarks.plan.plan`.
        out_dir: folder of the table.
    """
    return {
        patient: plan(
            "mr-pairs",
            methods,
            distortions,
            seeds,
            "small",
            out_dir / patient,
            {**scans, "hold_out": [patient]},
            dict(overrides or {}),
        )
        for patient in patients
    }


def measure(cell: Cell) -> dict[str, dict[str, Any]] | None:
    """Read what a finished cell gave for its patient: a row each for identity and its method; None if not finished.

    The errors by region are measured once, and kept beside the cell's result.
    """
    if (result := cell.result()) is None:
        return None
    file = cell.path / REGIONS_FILE
    if not file.exists():
        write_json(
            file, measure_regions((cell.data.base or cell.data).path, Weights(cell.path / "models" / "model.pt"))
        )
    ((patient, regions),) = json.loads(file.read_text(encoding="utf-8")).items()
    return {
        method: {
            **{name: result["metrics"][method][name]["per_patient"][patient] for name in ("mse", "ms_ssim")},
            **regions[IDENTITY if method == IDENTITY else "synthetic"],
        }
        for method in (IDENTITY, cell.method)
    }


def table_rows(folds: Mapping[str, Sequence[Cell]]) -> list[dict[str, Any]]:
    """Make a row for each distortion and method with a finished cell.

    In a row ``patients`` has each patient's values, means over seeds; ``mean``, ``low`` and ``high`` are the mean and
    the range over patients, None where no patient has the value; ``minutes`` is the mean length of the trainings.
    """
    found: dict[tuple[float, str], dict[str, list[dict[str, Any]]]] = {}
    seconds: dict[tuple[float, str], list[float]] = {}
    for patient, cells in folds.items():
        for cell in cells:
            for method, values in (measure(cell) or {}).items():
                found.setdefault((cell.distortion or 0, method), {}).setdefault(patient, []).append(values)
            if (result := cell.result()) is not None and result["seconds"] is not None:
                seconds.setdefault((cell.distortion or 0, cell.method), []).append(result["seconds"])
    rows = []
    for k, method in sorted(found, key=lambda place: (place[0], list(METHODS).index(place[1]))):
        patients = {
            patient: {name: _mean(one[name] for one in seeds) for name in COLUMNS}
            for patient, seeds in found[k, method].items()
        }
        values = {name: [v for one in patients.values() if (v := one[name]) is not None] for name in COLUMNS}
        time = _mean(seconds.get((k, method), []))
        rows.append(
            {
                "method": method,
                "distortion": k,
                "mean": {name: _mean(some) for name, some in values.items()},
                "low": {name: min(some, default=None) for name, some in values.items()},
                "high": {name: max(some, default=None) for name, some in values.items()},
                "minutes": None if time is None else time / 60,
                "patients": patients,
            }
        )
    return rows


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def markdown(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay the rows out, a table for each distortion."""
    parts = ["# Real pairs: T1 before and after gadolinium, one patient left out after the other"]
    for k in dict.fromkeys(row["distortion"] for row in rows):
        lines = []
        for row in (row for row in rows if row["distortion"] == k):
            cells = []
            for name, (_, scale, digits) in COLUMNS.items():
                mean, low, high = (row[part][name] for part in ("mean", "low", "high"))
                text = "" if mean is None else "{:.{d}f} [{:.{d}f}, {:.{d}f}]"
                cells.append(text.format(*(scale * (v or 0) for v in (mean, low, high)), d=digits))
            minutes = "" if row["minutes"] is None else f"{row['minutes']:.1f}"
            lines.append([row["method"], str(len(row["patients"])), *cells, minutes])
        head = ["method", "patients", *(title for title, _, _ in COLUMNS.values()), "minutes to train"]
        parts += [f"## k = {k:g}", markdown_table(head, lines)]
    parts += [
        "Mean [lowest, highest] over the patients left out, each a mean over seeds: "
        f"{', '.join(map(str, about['seeds']))}. MSE on [-1, 1], which stands for 0 to twice the source's 99.5th "
        "percentile. The first two columns are means over all pixels of the slices, air around the head included; "
        "enhancing is what rises in the real pair, which are tumours, and in every patient deep veins, sinuses and "
        "the choroid plexus; rise shown is the mean rise there, as a part of the real one. Identity is the source as "
        "it is; the oracle was trained on aligned pairs.",
        f"Left out: {', '.join(about['patients'])}. Hardware: {about['hardware']}. Command: `{about['command']}`. "
        "Research use only.",
    ]
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and write the table. Returns 1 if a cell failed, 2 for wrong input, which is said in one line."""
    return run_or_say(lambda: _run(_parse(arguments)))


def _run(options: argparse.Namespace) -> int:
    scans = _scans(options)
    there = sorted(find_scans(scans["source"]).keys() & find_scans(scans["target"]).keys())
    patients = options.patients or there
    if wrong := [patient for patient in patients if patient not in there]:
        raise InputError(f"--patients: expected some of {', '.join(there)} but got {wrong[0]}")
    if len(there) < 2:
        raise InputError(f"{scans['source']}: expected two patients or more with both scans but got {len(there)}")
    out_dir = (options.out_dir or Path("runs", "mr_pairs")).resolve()
    overrides = read_overrides(options)
    folds = leave_one_out(patients, scans, options.methods, options.distortions, options.seeds, out_dir, overrides)
    shown = {name: getattr(options, name) for name in ("methods", "distortions", "seeds", "set")}
    words = [word for name, values in shown.items() if values for word in (f"--{name}", *map(str, values))]
    about = {
        "patients": patients,
        "seeds": options.seeds,
        "hardware": describe_hardware(*share_cores(options)),
        "command": " ".join(["python -m benchmarks.mr_pairs", *words]),
    }

    def write() -> None:
        if rows := table_rows(folds):
            write_json(out_dir / "mr_pairs.json", {**about, "rows": rows})
            with atomic_path(out_dir / "mr_pairs.md") as partial:
                partial.write_text(markdown(about, rows), encoding="utf-8")

    failed = run_cells([cell for cells in folds.values() for cell in cells], options, out_dir, write, "MR pairs")
    if (out_dir / "mr_pairs.md").exists():
        done = [patient for patient, cells in folds.items() if any(map(measure, cells))]
        drawn = [file for patient in done for file in draw_figures(out_dir / patient)]
        print((out_dir / "mr_pairs.md").read_text(encoding="utf-8"))
        print(f"mr_pairs.json, mr_pairs.md and, by patient, {len(drawn)} figures are in {out_dir}")
    return failed


def _scans(options: argparse.Namespace) -> dict[str, Any]:
    """Read the arguments of the data sets: the paths, absolute since cells run elsewhere, and the rest."""
    given = [options.source, options.target]
    licence = options.licence
    if given == [None, None] and (folder := real_data()) is not None:
        given = [str(folder / "mr_contrast" / FIELD / f"{name}.nii.gz") for name in ("t1", "t1_post")]
        licence = licence or LICENCE
    if None in given:
        raise InputError("name the scans by --source and --target, or their folder by NCE_REAL_DATA")
    source, target = map(os.path.abspath, given)
    return {"source": source, "target": target, "size": options.size, "slices": options.slices, "licence": licence}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mr_pairs", description="Real pairs, one left out.")
    add = parser.add_argument
    add("--source", metavar="PATH", help=f"scans before the contrast medium, with {FIELD} for the patient's name")
    add("--target", metavar="PATH", help="scans after it")
    add("--patients", nargs="+", metavar="P", help="those that are left out, one after the other (default: all)")
    add("--distortions", nargs="+", type=float, default=DISTORTIONS, metavar="K", help="default: 0 0.02 0.05")
    add("--out-dir", type=Path, metavar="DIR", help="default: runs/mr_pairs")
    add_number(parser, "--size", 128, "in-plane size", metavar="PX")
    add_number(parser, "--slices", 64, "of each patient")
    add_licence(parser, "scans")
    add_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
