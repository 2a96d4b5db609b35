"""Run a table's cells by the options that tables share, and say what failed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cell import Cell, Runner
from benchmarks.plan import METHODS
from data_prep.arguments import number
from monai_nce.errors import InputError

__all__ = ["add_options", "read_overrides", "run_cells", "run_or_say", "share_cores"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about methods, seeds and how cells are run."""
    add = parser.add_argument
    add("--methods", nargs="+", metavar="M", help=f"of {', '.join(METHODS)} (default: all that make sense)")
    add("--seeds", nargs="+", type=number("seed"), default=[0], metavar="S", help="of the trainings (default: 0)")
    add("--resume", action="store_true", help="go on with what is in the output folder")
    add("--jobs", type=number("num_workers"), metavar="N", help="cells at once (default: one per core; 1 on a GPU)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of the bundle's configuration")


def read_overrides(options: argparse.Namespace) -> dict[str, Any]:
    """Read ``--set``; raise an InputError for what is no ``KEY=VALUE``."""
    overrides = {}
    for text in options.set:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set: expected KEY=VALUE but got {text!r}")
        try:
            overrides[key] = json.loads(value)
        except json.JSONDecodeError:
            overrides[key] = value
    return overrides


def share_cores(options: argparse.Namespace) -> tuple[int, int]:
    """Choose how many cells run at once, and the threads of each, 0 for as many as it takes."""
    cuda, cores = torch.cuda.is_available(), os.cpu_count() or 1
    jobs = options.jobs or (1 if cuda else cores)
    return jobs, 0 if cuda else max(1, cores // jobs)


def run_cells(
    cells: Sequence[Cell],
    options: argparse.Namespace,
    out_dir: Path,
    write: Callable[[], object],
    name: str = "table 1",
) -> int:
    """Run the cells that are not finished, and ``write`` after each and at the end; return 1 if any failed, else 0.

    Raises:
        InputError: if there are cells already and they are not to be resumed, or they are of other settings.
    """
    if any(cell.path.parent.exists() for cell in cells) and not options.resume:
        raise InputError(f"{out_dir}: holds cells already; go on with --resume, or choose another --out-dir")
    todo = [cell for cell in cells if cell.result() is None]
    failures = Runner(*share_cores(options), name).run(todo, len(cells) - len(todo), write) if todo else []
    write()
    if failures:
        print(f"error: {len(failures)} of {len(cells)} cells failed; mend the cause and go on with --resume")
    return 1 if failures else 0


def run_or_say(run: Callable[[], int]) -> int:
    """Run; say wrong input in one line and return 2, and where to go on if stopped, and return 130."""
    try:
        return run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; go on with --resume", file=sys.stderr)
        return 130
