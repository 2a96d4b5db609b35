"""Train and measure the paper's Table 1 again, by one command.

    python -m benchmarks.table1 --data phantom|ixi|ixi-like|DIR [--methods …] [--distortions …] [--seeds …]
                                [--preset small|paper] [--resume]

Every cell (method, distortion, seed) is trained and evaluated by the bundle's own workflows, in a process of its own.
After each cell ``table1.json`` and ``table1.md`` are written anew in the output folder, and at the end the figures. A
stopped run goes on with ``--resume``: finished cells are skipped, and a cell that was at work goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cell import Runner
from benchmarks.figures import draw_figures
from benchmarks.hardware import describe_hardware
from benchmarks.plan import DEFAULT_METHODS, DISTORTIONS, METHODS, MRI, is_mri, plan
from benchmarks.table import write_table
from data_prep.arguments import number
from monai_nce.errors import InputError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and write the table. Returns 1 if a cell failed, 2 for wrong input, which is said in one line."""
    try:
        return _run(_parse(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; go on with --resume", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    data, name = options.data, options.data
    if data not in DEFAULT_METHODS:
        data, name = str(Path(data).resolve()), Path(data).resolve().name
    # absolute, since the cells run in the repository's root
    out_dir = (options.out_dir or Path("runs", "table1", f"{name}_{options.preset}")).resolve()
    ixi = None if options.t2 is None or options.pd is None else (options.t2.resolve(), options.pd.resolve())
    overrides = dict(_override(text) for text in options.set)
    cells = plan(data, options.methods, options.distortions, options.seeds, options.preset, out_dir, ixi, overrides)
    if (out_dir / "cells").exists() and not options.resume:
        raise InputError(f"{out_dir}: holds cells already; go on with --resume, or choose another --out-dir")
    cuda = torch.cuda.is_available()
    jobs = options.jobs or (1 if cuda else os.cpu_count() or 1)
    threads = 0 if cuda else max(1, (os.cpu_count() or 1) // jobs)
    about = {
        "data": name,
        "preset": options.preset,
        "hardware": describe_hardware(jobs, threads),
        "command": "python -m benchmarks.table1 " + " ".join(_shown(options)),
        "note": "Research use only." + (" A phantom: no clinical result." if name == "phantom" else ""),
    }

    def write() -> None:
        if results := [result for cell in cells if (result := cell.result()) is not None]:
            write_table(out_dir, about, results, mri=is_mri(cells[0].configs))

    todo = [cell for cell in cells if cell.result() is None]
    failures = Runner(jobs, threads).run(todo, len(cells) - len(todo), write) if todo else []
    write()
    if (out_dir / "table1.md").exists():
        figures = draw_figures(out_dir)
        print((out_dir / "table1.md").read_text(encoding="utf-8"))
        print(f"table1.json, table1.md and {len(figures)} figures are in {out_dir}")
    if failures:
        print(f"error: {len(failures)} of {len(cells)} cells failed; mend the cause and go on with --resume")
    return 1 if failures else 0


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set: expected KEY=VALUE but got {text!r}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _shown(options: argparse.Namespace) -> list[str]:
    """List the options that decide about the figures, without paths."""
    shown = ["--data", options.data if options.data in DEFAULT_METHODS else "DIR", "--preset", options.preset]
    for flag in ("methods", "seeds", "set", *(["distortions"] if options.data in MRI else [])):
        if value := getattr(options, flag):
            shown += [f"--{flag}", *map(str, value)]
    return shown


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table1", description="Table 1 of the paper.")
    add = parser.add_argument
    add("--data", default="phantom", metavar="DATA", help="phantom (default), ixi, ixi-like, or a data set's folder")
    add("--methods", nargs="+", metavar="M", help=f"of {', '.join(METHODS)} (default: all that make sense)")
    add("--distortions", nargs="+", type=float, default=DISTORTIONS, metavar="K", help="for ixi and ixi-like")
    add("--seeds", nargs="+", type=number("seed"), default=[0], metavar="S", help="of the trainings (default: 0)")
    add("--preset", default="small", metavar="P", help="small (default) or paper")
    add("--t2", type=Path, metavar="PATH", help="IXI-T2.tar, or a folder with its files")
    add("--pd", type=Path, metavar="PATH", help="IXI-PD.tar, or a folder with its files")
    add("--out-dir", type=Path, metavar="DIR", help="default: runs/table1/DATA_PRESET")
    add("--resume", action="store_true", help="go on with what is in the output folder")
    add("--jobs", type=number("num_workers"), metavar="N", help="cells at once (default: one per core; 1 on a GPU)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of the bundle's configuration")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
