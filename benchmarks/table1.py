"""The paper's Table 1, trained and measured again by one command.

    python -m benchmarks.table1 --data phantom|ixi|ixi-like|DIR [--methods …] [--distortions …] [--seeds …]
                                [--preset small|paper] [--resume]

Every cell (method, distortion, seed) is trained and evaluated by the bundle's own workflows, in a process of its own.
After each cell ``table1.json``, ``table1.csv`` and ``table1.md`` are written anew in the output folder, and at the end
the figures. A stopped run goes on with ``--resume``: finished cells are skipped, and a cell that was at work goes on
after its last epoch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.cell import RESULT
from benchmarks.figures import draw_figures
from benchmarks.table import hardware, write_table
from data_prep.options import at_least
from data_prep.registration import METHODS as REGISTRATIONS
from monai_nce.data import read_datalist, read_datalist_file, write_json
from monai_nce.errors import InputError

__all__ = ["METHODS", "Cell", "DataSet", "main", "plan"]

# method: the configuration files that are laid over train.json
METHODS: dict[str, list[str]] = {
    "identity": [],
    "unregistered": ["regression"],
    **{name: ["regression"] for name in REGISTRATIONS},
    "single": ["single"],
    "cycle": ["cycle"],
    "joint": ["joint"],
    "separate": [],
    "oracle": ["regression", "oracle"],
}
SWEEP = ["identity", "single", "cycle", "joint", "separate", "oracle"]
DEFAULT_METHODS = {"phantom": list(METHODS), "ixi": SWEEP, "ixi-like": SWEEP}
DISTORTIONS = [0.01, 0.02, 0.05]  # section 4.4.1
PRESETS = ("small", "paper")
MRI = ("ixi", "ixi-like")
# what data sets are made of; everything that decides about a figure and is not in the bundle's configuration
DATA_SEED = 0
PHANTOM = {
    "small": {"patients": 24, "size": 128, "slices": 32, "seed": DATA_SEED},
    "paper": {"patients": 96, "size": 256, "slices": 64, "seed": DATA_SEED},
}
IXI_LIKE = {
    "small": {"subjects": 24, "size": 128, "slices": 16, "seed": DATA_SEED},
    "paper": {"subjects": 96, "size": 128, "slices": 64, "seed": DATA_SEED},
}
# What the small preset sets otherwise than train.json, whose adversarial settings are for stage 1: where the target
# network learns from a discriminator, that must go on learning as long as it does. The paper's preset gives all methods
# the same.
TOGETHER = {
    "stage1#generator_optimizer#lr": 0.0002,
    "stage1#discriminator_optimizer#lr": 0.0002,
    "stage1#generator_lr_scheduler#gamma": 0.7,
    "stage1#discriminator_lr_scheduler#gamma": 0.7,
}
# chosen for each by trials on the phantom's default split: with 4 groups Single lights up the air
MANY_GROUPS = {"discriminator_def#num_groups": 32}
SMALL: dict[str, dict[str, Any]] = {
    "single": {**TOGETHER, **MANY_GROUPS, "stage1#max_epochs": 5},
    "cycle": TOGETHER,
    "joint": {**TOGETHER, **MANY_GROUPS},
}
PROGRESS = re.compile(r"([^:\r\n]+(?:: [^:\r\n]+)?):\s+(\d+)%")


@dataclass(frozen=True)
class DataSet:
    """A data set of the table, and how it is made where it is not there yet.

    Args:
        path: its folder.
        kind: as :func:`benchmarks.cell.prepare` takes it; None for one that is there.
        settings: likewise.
        base: the data set that this one is made from.
    """

    path: Path
    kind: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    base: DataSet | None = None


@dataclass(frozen=True)
class Cell:
    """A method, trained and evaluated once.

    Args:
        method: one of ``METHODS``.
        distortion: the k of its data set; None where nothing is distorted.
        seed: of the training.
        data: the data set.
        configs: names of configuration files, ``train`` first.
        overrides: of their keys.
        path: its folder.
    """

    method: str
    distortion: float | None
    seed: int
    data: DataSet
    configs: list[str]
    overrides: dict[str, Any]
    path: Path

    @property
    def name(self) -> str:
        """Such as ``joint, k = 0.05, seed 0``."""
        return ", ".join(
            [self.method, *([] if self.distortion is None else [f"k = {self.distortion:g}"]), f"seed {self.seed}"]
        )

    @property
    def spec(self) -> dict[str, Any]:
        """Arguments of :func:`benchmarks.cell.train_and_evaluate`."""
        return {
            "configs": self.configs,
            "overrides": self.overrides,
            "dataset_dir": str(self.data.path),
            "out_dir": str(self.path),
            "seed": self.seed,
        }

    def result(self) -> dict[str, Any] | None:
        """What the finished cell gave, or None.

        Raises:
            InputError: if the folder holds the result of other settings.
        """
        file = self.path / RESULT
        if not file.exists():
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["spec"] != self.spec:
            raise InputError(f"{self.path}: holds a result of other settings; remove it or choose another --out-dir")
        return found


def plan(
    data: str,
    methods: Sequence[str],
    distortions: Sequence[float],
    seeds: Sequence[int],
    preset: str,
    out_dir: Path,
    ixi: tuple[Path, Path] | None = None,
    overrides: dict[str, Any] | None = None,
) -> list[Cell]:
    """The cells of a table, without identity, which every evaluation gives.

    Args:
        data: ``phantom``, ``ixi``, ``ixi-like`` or the folder of a data set.
        methods: rows, of ``METHODS``.
        distortions: k of the data sets; for ``ixi`` and ``ixi-like``.
        seeds: of the trainings.
        preset: ``small`` or ``paper``.
        out_dir: where cells and data sets go.
        ixi: T2 and PD as downloaded, for ``ixi``.
        overrides: keys of the bundle's configuration to set in every cell.

    Returns:
        The cells, the longest first.

    Raises:
        InputError: for methods, data, distortions or presets that cannot be.
    """
    for method in methods:
        if method not in METHODS:
            raise InputError(f"method: expected some of {', '.join(METHODS)} but got {method!r}")
    if preset not in PRESETS:
        raise InputError(f"preset: expected one of {', '.join(PRESETS)} but got {preset!r}")
    for k in distortions:
        if not 0 <= k < 1:
            raise InputError(f"distortion: expected 0 or more, and less than 1, but got {k:g}")
    trained = [method for method in METHODS if method in methods and method != "identity"]
    if not trained:
        raise InputError("expected at least one method besides identity, which is part of every table")
    data_dir = out_dir / "data"
    bases: list[tuple[float | None, DataSet]]
    if data == "phantom":
        bases = [(None, DataSet(data_dir / "phantom", "phantom", PHANTOM[preset]))]
    elif data == "ixi-like":
        bases = [
            (k, DataSet(data_dir / f"ixi-like_k{k:g}", data, {**IXI_LIKE[preset], "distortion": k}))
            for k in distortions
        ]
    elif data == "ixi":
        if ixi is None:
            raise InputError("--data ixi: name the T2 and PD scans as downloaded, by --t2 and --pd")
        paths = {"t2": str(ixi[0]), "pd": str(ixi[1]), "seed": DATA_SEED}
        bases = [(k, DataSet(data_dir / f"ixi_k{k:g}", data, {**paths, "distortion": k})) for k in distortions]
    else:
        read_datalist(data)
        bases = [(None, DataSet(Path(data)))]
    mri = data in MRI or (data not in DEFAULT_METHODS and _domain(data) == "t2")
    presets = {("small", True): ["ixi"], ("paper", True): ["paper_ixi"], ("paper", False): ["paper_ct"]}
    cells = []
    for method in trained:
        for k, base in bases:
            source = base
            if method in REGISTRATIONS:
                window = {"window_level": 500.0, "window_width": 1000.0} if mri else {}
                settings = {"dataset_dir": str(base.path), "method": method, "seed": DATA_SEED, **window}
                source = DataSet(data_dir / f"{base.path.name}_{method}", "registered", settings, base)
            configs = ["train", *METHODS[method], *presets.get((preset, mri), [])]
            for seed in seeds:
                folder = "_".join([method, *([] if k is None else [f"k{k:g}"]), f"s{seed}"])
                tuned = SMALL.get(method, {}) if preset == "small" else {}
                named = {**tuned, **(overrides or {}), "method": method}
                cells.append(Cell(method, k, seed, source, configs, named, out_dir / "cells" / folder))
    slow = {"cycle": 0, "voxelmorph": 1, "joint": 2}
    return sorted(cells, key=lambda cell: slow.get(cell.method, 3))


def _domain(dataset_dir: str) -> str:
    return str(read_datalist_file(dataset_dir).get("source_domain"))


class Runner:
    """Runs cells in child processes, several at once, and makes their data sets first.

    Args:
        jobs: cells at once.
        threads: of PyTorch in each; 0 leaves that to it.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        self.jobs = jobs
        self.threads = threads
        self._locks: dict[Path, threading.Lock] = {}
        self._children: dict[Path, subprocess.Popen] = {}
        self._stopped = False

    def run(self, cells: Sequence[Cell], done: int, after_each: Any) -> list[str]:
        """Run cells.

        Args:
            cells: those to run.
            done: how many were finished before.
            after_each: called without arguments when a cell is finished.

        Returns:
            A line per cell that failed.
        """
        for cell in cells:
            data: DataSet | None = cell.data
            while data is not None:
                self._locks.setdefault(data.path, threading.Lock())
                data = data.base
        failures = []
        bar = tqdm(total=len(cells) + done, initial=done, desc="table 1", unit="cell", dynamic_ncols=True)
        watcher = threading.Event()
        threading.Thread(target=self._watch, args=(bar, watcher), daemon=True).start()
        with ThreadPoolExecutor(self.jobs) as pool, bar:
            futures = {pool.submit(self._run_cell, cell): cell for cell in cells}
            try:
                for future in as_completed(futures):
                    if error := future.result():
                        failures.append(f"{futures[future].name}: {error}")
                        tqdm.write(f"error: {failures[-1]}", file=sys.stderr)
                    bar.update()
                    after_each()
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                for child in list(self._children.values()):
                    child.kill()  # nothing is lost: a cell goes on after its last epoch
                raise
            finally:
                watcher.set()
        return failures

    def _run_cell(self, cell: Cell) -> str | None:
        try:
            return self._prepare(cell.data) or self._child(cell.path, {"train": cell.spec})
        except OSError as error:  # a full disk, a file where a folder should be: the other cells may still go on
            return str(error)

    def _prepare(self, data: DataSet) -> str | None:
        if data.base is not None and (error := self._prepare(data.base)):
            return error
        if data.kind is None:
            return None
        with self._locks[data.path]:
            if (data.path / "datalist.json").exists():
                return None
            spec = {"kind": data.kind, "out_dir": str(data.path), "settings": data.settings}
            return self._child(data.path.with_name(f"{data.path.name}_log"), {"prepare": spec})

    def _child(self, folder: Path, spec: dict[str, Any]) -> str | None:
        """Run a child to its end. Returns what went wrong, or None."""
        if self._stopped:
            return "stopped"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", {**spec, "threads": self.threads, "parent": os.getpid()})
        threads = {"OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads)} if self.threads else {}
        log = folder / "log.txt"
        with open(log, "ab") as file:
            child = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.cell", str(folder / "spec.json")],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **threads},
            )
            self._children[folder] = child
            code = child.wait()
            self._children.pop(folder)
        if code == 0:
            return None
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"{last.removeprefix('error: ')} (status {code}, {log})"

    def _watch(self, bar: tqdm, finished: threading.Event) -> None:
        """Show how far the running cells are, from their logs."""
        while not finished.wait(5.0):
            bar.set_postfix_str("; ".join(_how_far(folder) for folder in list(self._children)), refresh=True)


def _how_far(folder: Path) -> str:
    with suppress(OSError), open(folder / "log.txt", "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4000))
        if found := PROGRESS.findall(file.read().decode("utf-8", errors="replace")):
            stage, percent = found[-1]
            return f"{folder.name}: {stage.strip()} {percent} %"
    return folder.name


def _results(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    found = ((cell, cell.result()) for cell in cells)
    return [
        {"method": cell.method, "distortion": cell.distortion, "seed": cell.seed, **result}
        for cell, result in found
        if result is not None
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, evaluate and write the table.

    Args:
        arguments: the command line, without the program's name; that of the process if None.

    Returns:
        The exit code: 2 for wrong input, which is said in one line; 1 if a cell failed.
    """
    options = _parse(arguments)
    try:
        return _run(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; go on with --resume", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    data = options.data
    name = data if data in DEFAULT_METHODS else Path(data).resolve().name
    out_dir = options.out_dir or Path("runs") / "table1" / f"{name}_{options.preset}"
    # absolute, since the cells run in the repository's root
    out_dir = out_dir.resolve()
    data = data if data in DEFAULT_METHODS else str(Path(data).resolve())
    methods = options.methods or DEFAULT_METHODS.get(data, [*SWEEP, "unregistered", *REGISTRATIONS])
    ixi = None if options.t2 is None or options.pd is None else (options.t2.resolve(), options.pd.resolve())
    overrides = dict(_override(text) for text in options.set)
    cells = plan(data, methods, options.distortions, options.seeds, options.preset, out_dir, ixi, overrides)
    if data not in DEFAULT_METHODS:
        cells = _without_what_the_data_lack(cells, data, chosen=bool(options.methods))
    if (out_dir / "cells").exists() and not options.resume:
        raise InputError(f"{out_dir}: holds cells already; go on with --resume, or choose another --out-dir")
    cuda = torch.cuda.is_available()
    jobs = options.jobs or (1 if cuda else os.cpu_count() or 1)
    threads = 0 if cuda else max(1, (os.cpu_count() or 1) // jobs)
    about = {
        "data": name,
        "preset": options.preset,
        "hardware": hardware(jobs, threads),
        "command": "python -m benchmarks.table1 " + " ".join(_shown(options)),
        "note": "Research use only." + (" A phantom: no clinical result." if name == "phantom" else ""),
    }
    todo = [cell for cell in cells if cell.result() is None]

    def write() -> None:
        if results := _results(cells):
            write_table(out_dir, about, results, mri="ixi" in cells[0].configs or "paper_ixi" in cells[0].configs)

    failures = Runner(jobs, threads).run(todo, len(cells) - len(todo), write) if todo else []
    write()
    if (out_dir / "table1.md").exists():
        figures = draw_figures(out_dir)
        print((out_dir / "table1.md").read_text(encoding="utf-8"))
        print(f"table1.json, table1.csv, table1.md and {len(figures)} figures are in {out_dir}")
    if failures:
        print(f"error: {len(failures)} of {len(cells)} cells failed; mend the cause and go on with --resume")
    return 1 if failures else 0


def _without_what_the_data_lack(cells: list[Cell], data: str, chosen: bool) -> list[Cell]:
    """Leave out, unless asked for, methods that need pairs, or aligned ones, where the data set has none."""
    items = read_datalist(data, "training")
    if any(not {"source", "target"} <= item.keys() for item in items):
        lacking = {"unregistered", *REGISTRATIONS}
    else:
        lacking = set()
    if not any({"aligned_source", "target"} <= item.keys() for item in items):
        lacking.add("oracle")
    if chosen:
        return cells
    return [cell for cell in cells if cell.method not in lacking]


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set: expected KEY=VALUE but got {text!r}")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _shown(options: argparse.Namespace) -> list[str]:
    """The options that decide about the figures, without paths."""
    shown = ["--data", options.data if options.data in DEFAULT_METHODS else "DIR", "--preset", options.preset]
    for flag in ("methods", "seeds", "set"):
        if value := getattr(options, flag):
            shown += [f"--{flag}", *map(str, value)]
    if options.data in MRI:
        shown += ["--distortions", *map(str, options.distortions)]
    return shown


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table1", description="Table 1 of the paper.")
    add = parser.add_argument
    add("--data", default="phantom", metavar="DATA", help="phantom (default), ixi, ixi-like, or a data set's folder")
    add("--methods", nargs="+", metavar="M", help=f"of {', '.join(METHODS)} (default: all that make sense)")
    add("--distortions", nargs="+", type=float, default=DISTORTIONS, metavar="K", help="for ixi and ixi-like")
    add("--seeds", nargs="+", type=at_least(0), default=[0], metavar="S", help="of the trainings (default: 0)")
    add("--preset", default="small", metavar="P", help="small (default) or paper")
    add("--t2", type=Path, metavar="PATH", help="IXI-T2.tar, or a folder with its files")
    add("--pd", type=Path, metavar="PATH", help="IXI-PD.tar, or a folder with its files")
    add("--out-dir", type=Path, metavar="DIR", help="default: runs/table1/DATA_PRESET")
    add("--resume", action="store_true", help="go on with what is in the output folder")
    add("--jobs", type=at_least(1), metavar="N", help="cells at once (default: one per core; 1 on a GPU)")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="keys of the bundle's configuration")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
