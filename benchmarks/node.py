"""Measure a DICOM node: many studies from several senders, and SIGKILL at random moments; what is lost or doubled.

    python -m benchmarks.node load --scan ct.nii.gz [--studies 100] [--senders 4] [--out FILE]
    python -m benchmarks.node kill --scan ct.nii.gz [--studies 12] [--kills 10] [--seed 0] [--out FILE]

Studies are a few neighbouring slices of a real scan without contrast medium, under UIDs of their own, sent to a node on
127.0.0.1. It sends to a receiver in this process, which keeps UIDs and voxels. A sender repeats an instance until it is
told that it is stored, as scanners do. Beside it stands plain inference: `monai_nce.enhance` on the same series, one
after another in one process that has loaded everything. FILE keeps the results of both, each under its name.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pydicom
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, evt

from benchmarks.hardware import host
from benchmarks.preparation import UID_ROOT, write_series
from monai_nce import enhance
from monai_nce.data import write_json
from monai_nce.node.run import quiet_libraries

__all__ = ["Received", "main", "write_studies"]

SLICES = 3
PATIENCE = 600  # s
PACE = 6.0  # s from one study to the next, on average, where the node is killed
NODE = "import sys; from monai_nce.cli.app import main; sys.exit(main())"


class Received:
    """Be the PACS: keep what arrives, by study and series."""

    def __init__(self) -> None:
        self.series: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        self.arrived = 0
        self.changed = 0
        self._turn = threading.Lock()
        entity = AE("PACS")
        entity.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._take)])
        assert self._server and self._server.socket
        self.port = int(self._server.socket.getsockname()[1])

    def _take(self, event: evt.Event) -> int:
        one = event.dataset
        voxels = hashlib.sha256(one.PixelData).hexdigest()
        with self._turn:
            known = self.series[str(one.StudyInstanceUID)][str(one.SeriesInstanceUID)]
            self.arrived += 1
            self.changed += known.get(str(one.SOPInstanceUID), voxels) != voxels
            known[str(one.SOPInstanceUID)] = voxels
        return 0

    def whole(self, slices: int) -> int:
        """Count the studies of which a series has arrived as a whole."""
        with self._turn:
            return sum(any(len(one) == slices for one in study.values()) for study in self.series.values())

    def stop(self) -> None:
        """Answer no more."""
        if self._server:
            self._server.shutdown()


def write_studies(folder: Path, scan: Path, studies: int) -> list[list[Path]]:
    """Write studies of a few slices of a scan, which no two of them share."""
    image = nib.as_closest_canonical(nib.load(scan))
    volume = np.asarray(image.dataobj).round().astype(np.int16)[::-1, ::-1]  # to the axes of DICOM
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    written = []
    for number in range(studies):
        first = number % (volume.shape[2] - SLICES)
        part = volume[:, :, first : first + SLICES].copy()
        part[0, 0, 0] = -1000 - number // (volume.shape[2] - SLICES)  # another scan each time
        study = f"{UID_ROOT}27.{number + 1}"
        about: dict[str, Any] = {
            "StudyInstanceUID": study,
            "SeriesInstanceUID": f"{study}.1",
            "PatientID": f"P{number}",
        }
        series = write_series(folder / f"{number:04d}", part, (spacing[0], spacing[1], spacing[2]), **about)
        written.append(sorted(series.iterdir()))
    return written


class Node:
    """Start ``nce node`` in a process, and kill it."""

    def __init__(self, folder: Path, forward: int) -> None:
        self.folder, self.forward, self.port, self.page = folder, forward, 0, ""
        self.process: Any = None

    def start(self) -> None:
        """Start it and wait until it receives."""
        options = ["--port", str(self.port), "--forward", f"PACS@127.0.0.1:{self.forward}", "--page-port", "0"]
        options += ["--data", str(self.folder), "--quiet-time", "5", "--least-free", "0.1"]
        with open(f"{self.folder}.log", "a") as log:
            self.process = psutil.Popen(
                [sys.executable, "-c", NODE, "node", *options], stdout=subprocess.PIPE, stderr=log, text=True
            )
        line = self.process.stdout.readline()
        found = re.search(r":(\d+), page (http://\S+)", line)
        if not found:
            raise RuntimeError(f"the node did not start: {Path(f'{self.folder}.log').read_text()}")
        self.port, self.page = int(found[1]), found[2]

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()


def send(files: Sequence[Path], port: int) -> int:
    """Send a study until every instance is said to be stored; return how often an instance had to be repeated."""
    left, tries = list(files), 0
    end = time.monotonic() + PATIENCE
    while left and time.monotonic() < end:
        entity = AE("SENDER")
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = 20
        entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
        association = entity.associate("127.0.0.1", port, ae_title="NCE")
        while association.is_established and left:
            tries += 1
            try:
                stored = association.send_c_store(left[0]).get("Status") == 0
            except (RuntimeError, ValueError):  # the node is gone
                break
            if not stored:
                break
            left.pop(0)
        if association.is_established:
            association.release()
        if left:
            time.sleep(0.5)
    if left:
        raise RuntimeError(f"{len(left)} instances could not be sent")
    return tries - len(files)


@contextmanager
def _setting(scan: Path, studies: int) -> Iterator[tuple[list[list[Path]], Received, Node]]:
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        written, received = write_studies(Path(folder) / "studies", scan, studies), Received()
        node = Node(Path(folder) / "node", received.port)
        node.start()
        try:
            yield written, received, node
        finally:
            node.kill()
            received.stop()


def _until_all(received: Received, studies: int) -> None:
    end = time.monotonic() + PATIENCE
    while received.whole(SLICES) < studies and time.monotonic() < end:
        time.sleep(0.1)


def _outcome(received: Received, studies: int) -> dict[str, int]:
    return {
        "studies": studies,
        "lost": studies - received.whole(SLICES),
        "doubled": sum(len(study) > 1 for study in received.series.values()),
        "instances_sent_again_with_other_voxels": received.changed,
        "instances_sent_again": received.arrived
        - sum(len(s) for one in received.series.values() for s in one.values()),
    }


def load(scan: Path, studies: int, senders: int) -> dict[str, Any]:
    """Send studies from several senders at once, and time them to the last result; then plain inference on the same."""
    with _setting(scan, studies) as (written, received, node):
        began = time.monotonic()
        with ThreadPoolExecutor(senders) as pool:
            repeats = sum(pool.map(lambda files: send(files, node.port), written))
        sent = time.monotonic() - began
        _until_all(received, studies)
        whole = time.monotonic() - began
        outcome = _outcome(received, studies)
        plain, equal = _plain(written, received)
    figures = {"seconds_to_send": round(sent, 1), "seconds_to_the_last_result": round(whole, 1)}
    figures |= {"studies_per_minute": round(60 * studies / whole, 1)}
    figures |= {"plain_studies_per_minute": round(60 * len(written) / plain, 1)}
    return {**outcome, "senders": senders, "slices": SLICES, "repeats": repeats, **figures, "equal_to_plain": equal}


def _plain(written: Sequence[Sequence[Path]], received: Received) -> tuple[float, int]:
    """Enhance every series in this process; the seconds, and how many have the voxels that the node sent."""
    seconds, equal = 0.0, 0
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        enhance(written[0][0].parent)  # loads everything
        for number, files in enumerate(written):
            began = time.monotonic()
            made = enhance(files[0].parent, strict=True).save(Path(folder) / str(number), "dicom")
            seconds += time.monotonic() - began
            series = [pydicom.dcmread(file) for file in sorted(made.iterdir())]
            voxels = {hashlib.sha256(one.PixelData).hexdigest() for one in series}
            arrived = received.series[str(series[0].StudyInstanceUID)].values()
            equal += all(set(one.values()) == voxels for one in arrived) and bool(arrived)
    return seconds, equal


def kill(scan: Path, studies: int, kills: int, seed: int) -> dict[str, Any]:
    """Kill the node at random moments while studies come, are enhanced and are sent."""
    moments = random.Random(seed)
    with _setting(scan, studies) as (written, received, node):

        def feed() -> int:
            repeats = 0
            for files in written:  # one by one, so that receiving, enhancing and sending are all under way
                repeats += send(files, node.port)
                time.sleep(moments.uniform(0, 2 * PACE))
            return repeats

        pool = ThreadPoolExecutor(1)
        repeats = pool.submit(feed)
        killed = []
        for _ in range(kills):
            wait = moments.choice((moments.uniform(0, 2), moments.uniform(2, 20)))  # also while it starts again
            time.sleep(wait)
            children = node.process.children(recursive=True)
            node.kill()
            killed.append(round(wait, 2))
            psutil.wait_procs(children, timeout=20)  # its process ends with it
            node.start()
        count = repeats.result()
        _until_all(received, studies)
        time.sleep(6)  # what is sent twice would come now
        outcome = _outcome(received, studies)
    return {**outcome, "kills": len(killed), "seconds_before_each": killed, "repeats": count, "slices": SLICES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", choices=("load", "kill"))
    parser.add_argument("--scan", type=Path, required=True, help="NIfTI file of an abdomen without contrast medium")
    parser.add_argument("--studies", type=int)
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    busy = round(psutil.getloadavg()[0], 1)
    if given.measured == "load":
        found = load(given.scan, given.studies or 100, given.senders)
    else:
        found = kill(given.scan, given.studies or 12, given.kills, given.seed)
    found |= {"load_average_before": busy}
    print(json.dumps(found, indent=2))
    if given.out:
        kept = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
        write_json(given.out, {**kept, "hardware": host(), given.measured: found})
    return 1 if found["lost"] or found["doubled"] else 0


if __name__ == "__main__":
    sys.exit(main())
