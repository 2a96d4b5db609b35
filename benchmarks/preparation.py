"""What ``data_prep ct --studies`` needs in memory, against the number of studies.

    python -m benchmarks.preparation [--run PATIENTS:SIZE:SLICES ...] [--workers N] [--out FILE]

For each run, studies of two series are made on the spot, prepared by the command in a process of its own, and removed.
The command and its workers are watched from outside: the peak is the kernel's own count of resident memory (VmHWM,
Linux), looked up until the process ends.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.hardware import host
from benchmarks.synthetic_studies import FIELD_MM, write_studies
from monai_nce.data import write_json
from monai_nce.data.dataset.datalist import read_datalist

__all__ = ["measure"]

RUNS = ("5:64:16", "20:64:16", "80:64:16", "327:64:16", "5:512:60", "20:512:60")
LOOK_SECONDS = 0.02
MIB = 1024  # kB


def measure(patients: int, size: int, slices: int, workers: int = 2) -> dict[str, Any]:
    """Prepare synthetic studies and watch.

    Args:
        patients: number of studies.
        size: pixels of each series along both in-plane axes.
        slices: of each series.
        workers: processes.

    Returns:
        The numbers given, ``parent_peak_mib`` and ``worker_peak_mib`` (of the largest worker), ``seconds`` of the
        whole command, and ``processes`` that were workers.

    Raises:
        RuntimeError: if the command failed, or prepared other than all patients.
    """
    with tempfile.TemporaryDirectory() as folder:
        studies, out = write_studies(Path(folder) / "studies", patients, size, slices), Path(folder) / "out"
        pixels = min(size, 256)
        geometry = ["--size", str(pixels), "--spacing", f"{min(FIELD_MM / pixels, 10):.4f}", "--min-slices", "8"]
        command = [sys.executable, "-m", "data_prep", "ct", "--studies", str(studies), "--preset", "c4kc-kits"]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, *geometry, "--workers", str(workers), "--out-dir", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peaks: dict[int, int] = {}
        while process.poll() is None:
            for member in (process.pid, *_workers(process.pid)):
                peaks[member] = max(_peak_kib(member), peaks.get(member, 0))
            time.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - start
        if process.returncode or len(read_datalist(out)) != patients:
            raise RuntimeError(f"the preparation of {patients} studies failed with exit code {process.returncode}")
    parent = peaks.pop(process.pid)
    return {
        "patients": patients,
        "size": size,
        "slices": slices,
        "workers": workers,
        "processes": len(peaks),
        "parent_peak_mib": round(parent / MIB),
        "worker_peak_mib": round(max(peaks.values(), default=0) / MIB),
        "seconds": round(seconds, 1),
    }


def _workers(parent: int) -> list[int]:
    """The worker processes of a process, less what Python starts beside them to clear up."""
    try:
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:  # ended meanwhile
        return []


def _peak_kib(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def main(arguments: Sequence[str] | None = None) -> None:
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
