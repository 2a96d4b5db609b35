"""Measure the memory that ``data_prep ct --studies`` needs, against the number of studies.

    python -m benchmarks.preparation [--run PATIENTS:SIZE:SLICES ...] [--workers N] [--out FILE]

Studies of two series are made on the spot. The command's resident memory and its workers' are looked up every 20 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import psutil

from benchmarks.hardware import host
from benchmarks.synthetic_studies import FIELD_MM, write_studies
from monai_nce.data import write_json
from monai_nce.data.dataset.datalist import read_datalist

__all__ = ["measure"]

RUNS = ("5:64:16", "20:64:16", "80:64:16", "327:64:16", "5:512:60", "20:512:60")
MIB = 2**20


def measure(patients: int, size: int, slices: int, workers: int = 2) -> dict[str, Any]:
    """Prepare so many synthetic studies of two series each and watch.

    Returns:
        The numbers given, the peaks of the parent and of the largest worker, and the seconds of the whole command.
    """
    with tempfile.TemporaryDirectory() as folder:
        studies, out = write_studies(Path(folder) / "studies", patients, size, slices), Path(folder) / "out"
        pixels, spacing = min(size, 256), min(FIELD_MM / min(size, 256), 10)
        command = f"ct --preset c4kc-kits --size {pixels} --spacing {spacing:.4f} --min_slices 8"
        paths = ["--studies", str(studies), "--output_dir", str(out), "--num_workers", str(workers)]
        start = time.perf_counter()
        process = psutil.Popen([sys.executable, "-m", "data_prep", *command.split(), *paths], stdout=DEVNULL)
        peaks: dict[int, int] = {}
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):  # ended meanwhile
                for member in (process, *process.children()):
                    if member.pid == process.pid or any("spawn_main" in word for word in member.cmdline()):
                        peaks[member.pid] = max(member.memory_info().rss, peaks.get(member.pid, 0))
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        if process.returncode or len(read_datalist(out)) != patients:
            raise RuntimeError(f"the preparation of {patients} studies failed with exit code {process.returncode}")
    parent = peaks.pop(process.pid)
    return {
        **{"patients": patients, "size": size, "slices": slices, "workers": workers, "processes": len(peaks)},
        "parent_peak_mib": round(parent / MIB),
        "worker_peak_mib": round(max(peaks.values(), default=0) / MIB),
        "seconds": round(seconds, 1),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all runs, print them and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="+", default=RUNS, metavar="PATIENTS:SIZE:SLICES")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    rows = []
    for text in options.run:
        patients, size, slices = (int(number) for number in text.split(":"))
        rows.append(measure(patients, size, slices, options.workers))
        print(rows[-1], flush=True)
    if options.out:
        write_json(options.out, {"hardware": host(), "runs": rows})


if __name__ == "__main__":
    main()
