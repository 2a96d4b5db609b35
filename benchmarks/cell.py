"""Run the cells of Table 1, each in a process of its own: make its data set, then train and evaluate.

    python -m benchmarks.cell SPEC.json

:class:`Runner` starts these for :mod:`benchmarks.table1`. A cell runs the bundle's own workflows with nothing added but
paths, seed and method, so the command line gives the same. Stopped and started again, it goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from tqdm import tqdm

from data_prep.ixi import prepare_ixi
from data_prep.ixi_like import write_ixi_like_dataset
from data_prep.mr_pairs import prepare_mr_pairs
from data_prep.register import register_dataset
from monai_nce.data import write_json
from monai_nce.errors import InputError, find_input_error
from monai_nce.phantom import write_phantom_dataset

__all__ = ["CONFIGS", "RESULT", "Cell", "DataSet", "Runner", "initialize", "main", "prepare", "train_and_evaluate"]

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "bundles" / "nce" / "configs"
RESULT = "cell.json"  # written last: where it is, the cell is finished
MAKERS: dict[str, Callable[..., Path]] = {
    "phantom": write_phantom_dataset,
    "ixi": prepare_ixi,
    "ixi-like": write_ixi_like_dataset,
    "mr-pairs": prepare_mr_pairs,
    "registered": register_dataset,
}
CHILD = (sys.executable, "-m", "benchmarks.cell")
PROGRESS = re.compile(r"([^:\r\n]+(?:: [^:\r\n]+)?):\s+(\d+)%")  # tqdm's "stage: 50%" or "stage: part: 50%"


@dataclass(frozen=True)
class DataSet:
    """Name a data set of the table, and how :func:`prepare` makes it; without ``kind`` it is there."""

    path: Path
    kind: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    base: DataSet | None = None  # that this one is made from
    cell: Cell | None = None  # whose networks make it


@dataclass(frozen=True)
class Cell:
    """Name a method that is trained and evaluated once; ``configs`` begins with ``train``."""

    method: str
    distortion: float | None
    seed: int
    data: DataSet
    configs: list[str]
    overrides: dict[str, Any]  # of the configuration's keys
    path: Path

    @property
    def spec(self) -> dict[str, Any]:
        """Arguments of :func:`train_and_evaluate`."""
        folders = {"dataset_dir": str(self.data.path), "out_dir": str(self.path)}
        return {"configs": self.configs, "overrides": self.overrides, **folders, "seed": self.seed}

    def result(self) -> dict[str, Any] | None:
        """Read what the finished cell gave; None if it is not finished, InputError if it is of other settings."""
        file = self.path / RESULT
        if not file.exists():
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["spec"] != self.spec:
            raise InputError(f"{self.path}: holds a result of other settings; remove it or choose another --out-dir")
        return {"method": self.method, "distortion": self.distortion, "seed": self.seed, **found}


def prepare(kind: str, out_dir: str, settings: Mapping[str, Any]) -> None:
    """Make a data set by its kind's function in ``MAKERS``, with ``settings`` as arguments."""
    paths = {key: Path(settings[key]) for key in ("t2", "pd") if key in settings}
    MAKERS[kind](**{**settings, **paths, "out_dir": Path(out_dir)})


def initialize(configs: Iterable[str], /, **given: Any) -> ConfigWorkflow:
    """Initialize a workflow of the bundle from the names of its configuration files, and values of their keys."""
    files = [str(CONFIGS / f"{name}.json") for name in configs]
    workflow = ConfigWorkflow(files, workflow_type="train", logging_file=False, **given)
    workflow.initialize()
    return workflow


def train_and_evaluate(
    configs: list[str], overrides: Mapping[str, Any], dataset_dir: str, out_dir: str, seed: int
) -> dict[str, Any]:
    """Train with the bundle's ``training`` and evaluate with its ``evaluating``, on one data set.

    Returns ``metrics`` and the ``seconds`` that the training took, None where it was stopped in between.
    """
    given = {**overrides, "dataset_dir": dataset_dir, "output_dir": out_dir, "seed": seed}
    resumed = Path(out_dir, "checkpoints").exists()
    start = time.monotonic()
    _run(configs, run_id="training", **given, resume=True)
    seconds = None if resumed else time.monotonic() - start
    checkpoint = str(Path(out_dir, "models", "model.pt"))
    _run([*configs, "evaluate"], run_id="evaluating", **given, checkpoint=checkpoint)
    return {"seconds": seconds, "metrics": json.loads(Path(out_dir, "metrics.json").read_text(encoding="utf-8"))}


def _run(configs: list[str], /, **given: Any) -> None:
    workflow = initialize(configs, **given)
    workflow.run()
    workflow.finalize()


class Runner:
    """Make data sets and run cells in child processes, ``jobs`` at once, each with ``threads`` unless that is 0.

    The progress bar is called ``name``.
    """

    def __init__(self, jobs: int, threads: int, name: str = "table 1") -> None:
        self.jobs, self.name = jobs, name
        limits = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
        self._environment = {**os.environ, **limits}
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        self._stopped = False

    def run(self, cells: Sequence[Cell], done: int, after_each: Callable[[], object]) -> list[str]:
        """Run cells, of which so many were ``done`` before. Returns a line for each that failed."""
        failures = []
        bar = tqdm(total=len(cells) + done, initial=done, desc=self.name, unit="cell", dynamic_ncols=True)
        with ThreadPoolExecutor(self.jobs) as pool, bar:
            futures = {pool.submit(self._run_cell, cell): cell for cell in cells}
            try:
                pending = set(futures)
                while pending:
                    finished, pending = wait(pending, timeout=5.0, return_when=FIRST_COMPLETED)
                    for future in finished:
                        if error := future.result():
                            failures.append(f"{futures[future].path.name}: {error}")
                            tqdm.write(f"error: {failures[-1]}", file=sys.stderr)
                        bar.update()
                        after_each()
                    bar.set_postfix_str("; ".join(_how_far(folder) for folder in list(self._children)))
            except BaseException:
                self._stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                for child in list(self._children.values()):
                    child.kill()  # nothing is lost: a cell goes on after its last checkpoint
                raise
        return failures

    def _run_cell(self, cell: Cell) -> str | None:
        try:
            if error := self._prepare(cell.data):
                return error
            with self._locks[cell.path]:  # another cell's data set may have it trained first
                return None if cell.result() else self._child(cell.path, {"train": cell.spec})
        # a full disk, a file where a folder should be, a cell of other settings: the other cells may still go on
        except (OSError, InputError) as error:
            return str(error)

    def _prepare(self, data: DataSet) -> str | None:
        if data.base is not None and (error := self._prepare(data.base)):
            return error
        if data.cell is not None and (error := self._run_cell(data.cell)):
            return error
        with self._locks[data.path]:
            if data.kind is None or (data.path / "datalist.json").exists():
                return None
            spec = {"kind": data.kind, "out_dir": str(data.path), "settings": data.settings}
            return self._child(data.path.with_name(f"{data.path.name}_log"), {"prepare": spec})

    def _child(self, folder: Path, spec: dict[str, Any]) -> str | None:
        """Run a child to its end. Returns what went wrong, or None."""
        if self._stopped:
            return "stopped"
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "spec.json", {**spec, "parent": os.getpid()})
        log, command = folder / "log.txt", [*CHILD, str(folder / "spec.json")]
        with open(log, "ab") as file:
            self._children[folder] = child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self._environment
            )
            code = child.wait()
            self._children.pop(folder)
        if code == 0:
            return None
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f"{last.removeprefix('error: ')} (status {code}, {log})"


def _how_far(folder: Path) -> str:
    """Describe a running cell in a few words, such as ``joint_s0: epoch 2 of 4 50 %``, from the bars in its log."""
    with suppress(OSError), open(folder / "log.txt", "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4000))
        if found := PROGRESS.findall(file.read().decode("utf-8", errors="replace")):
            stage, percent = found[-1]
            return f"{folder.name}: {stage.strip()} {percent} %"
    return folder.name


def main(path: str) -> int:
    """Make a data set (``prepare``) or a cell (``train``) from a JSON file. Returns 2 for wrong input, else 0."""
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    if "parent" in spec:
        threading.Thread(target=_end_with, args=(spec["parent"],), daemon=True).start()
    try:
        if "prepare" in spec:
            prepare(**spec["prepare"])
        else:
            result = train_and_evaluate(**spec["train"])
            write_json(Path(spec["train"]["out_dir"], RESULT), {"spec": spec["train"], **result})
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2
    return 0


def _end_with(parent: int) -> None:
    """Leave when the table's process is gone, even by SIGKILL: it may be started again, and train this cell anew."""
    while os.getppid() == parent:  # compared with the table's own id, which may be gone before this process is there
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
