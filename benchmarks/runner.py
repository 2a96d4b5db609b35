"""Run the cells of a table in processes of their own, and show how far they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.plan import Cell, DataSet
from monai_nce.data import write_json

__all__ = ["Runner", "how_far"]

CHILD = (sys.executable, "-m", "benchmarks.cell")
PROGRESS = re.compile(r"([^:\r\n]+(?:: [^:\r\n]+)?):\s+(\d+)%")  # tqdm's "stage: 50%" or "stage: part: 50%"


class Runner:
    """Run cells in child processes, several at once, and make their data sets first.

    Args:
        jobs: cells at once.
        threads: of PyTorch in each; 0 leaves that to it.
    """

    def __init__(self, jobs: int, threads: int) -> None:
        self.jobs = jobs
        self.threads = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._children: dict[Path, subprocess.Popen[bytes]] = {}
        self._stopped = False

    def run(self, cells: Sequence[Cell], done: int, after_each: Callable[[], object]) -> list[str]:
        """Run cells. Returns a line for each that failed.

        Args:
            cells: those to run.
            done: how many were finished before.
            after_each: called when a cell is finished.
        """
        failures = []
        bar = tqdm(total=len(cells) + done, initial=done, desc="table 1", unit="cell", dynamic_ncols=True)
        finished = threading.Event()
        threading.Thread(target=self._watch, args=(bar, finished), daemon=True).start()
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
                    child.kill()  # nothing is lost: a cell goes on after its last checkpoint
                raise
            finally:
                finished.set()
        return failures

    def _run_cell(self, cell: Cell) -> str | None:
        try:
            return self._prepare(cell.data) or self._child(cell.path, {"train": cell.spec})
        except OSError as error:  # a full disk, a file where a folder should be: the other cells may still go on
            return str(error)

    def _prepare(self, data: DataSet) -> str | None:
        if data.base is not None and (error := self._prepare(data.base)):
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
        log = folder / "log.txt"
        with open(log, "ab") as file:
            self._children[folder] = child = subprocess.Popen(
                [*CHILD, str(folder / "spec.json")],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **self.threads},
            )
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
            bar.set_postfix_str("; ".join(how_far(folder) for folder in list(self._children)), refresh=True)


def how_far(folder: Path) -> str:
    """Describe a running cell in a few words, such as ``joint_s0: epoch 2 of 4 50 %``, from the bars in its log."""
    with suppress(OSError), open(folder / "log.txt", "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 4000))
        if found := PROGRESS.findall(file.read().decode("utf-8", errors="replace")):
            stage, percent = found[-1]
            return f"{folder.name}: {stage.strip()} {percent} %"
    return folder.name
