"""Measure the memory that ``data_prep ct --studies`` needs, against the number of studies.

    python -m benchmarks.preparation [--run PATIENTS:SIZE:SLICES ...] [--workers N] [--out FILE]

Studies of two series are made on the spot: crude bodies in DICOM, the same for one seed, no patients. The command's
resident memory and its workers' are looked up every 20 ms.
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

import numpy as np
import psutil
import pydicom
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from benchmarks.hardware import host
from monai_nce.data import write_json
from monai_nce.data.dataset.datalist import read_datalist

__all__ = ["body", "measure", "write_series", "write_studies"]

RUNS = ("5:64:16", "20:64:16", "80:64:16", "327:64:16", "5:512:60", "20:512:60")
MIB = 2**20
FIELD_MM = 340.0
UID_ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's
AIR_HU, TISSUE_HU, NECT_HU, CECT_HU = -1000, 50, 45, 190


def body(size: int, slices: int, enhanced: bool, seed: int = 0) -> np.ndarray:
    """Make an oval of soft tissue with two kidneys and an aorta, bright where ``enhanced``, over 340 x 340 mm.

    Another seed gives another width and other noise.

    Returns:
        HU, int16, (columns, rows, slices).
    """
    random = np.random.default_rng([seed, int(enhanced)])
    x, y = np.meshgrid(*2 * [(np.arange(size) + 0.5) / size * 2 - 1], indexing="ij")
    wide = np.random.default_rng(seed).uniform(0.75, 0.9)
    plane = np.where((x / wide) ** 2 + (y / 0.6) ** 2 <= 1, TISSUE_HU, AIR_HU)
    for across, down, radius in ((-0.35, 0.15, 0.18), (0.35, 0.15, 0.18), (0.05, 0.1, 0.08)):
        inside = (x - across) ** 2 + (y - down) ** 2 <= radius**2
        plane = np.where(inside, CECT_HU if enhanced else NECT_HU, plane)
    volume = np.repeat(plane[:, :, None].astype(np.int16), slices, axis=2)
    return volume + random.integers(-6, 7, size=volume.shape, dtype=np.int16)


def write_series(
    folder: Path, volume: np.ndarray, spacing: tuple[float, float, float], first_z: float = 0.0, **elements: Any
) -> Path:
    """Write a volume as a CT series, a file per slice named after SeriesNumber and slice; return the folder.

    Args:
        folder: made if missing.
        volume: as :func:`body` makes it, in the axes of a patient on the back.
        spacing: of columns, rows and slices, in mm.
        first_z: position of the first slice along the body, in mm.
        elements: elements of the header, by keyword, in place of those that are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"PatientID": "1", "StudyInstanceUID": f"{UID_ROOT}1", "SeriesInstanceUID": f"{UID_ROOT}2"}
    given |= {"SeriesNumber": 1, **elements}
    columns, rows, slices = volume.shape
    corner = [-spacing[0] * (columns - 1) / 2, -spacing[1] * (rows - 1) / 2]
    for index in range(slices):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, UID(f"{given['SeriesInstanceUID']}.{index + 1}")
        dataset.file_meta = meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        dataset.Modality, dataset.ImageType, dataset.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], index + 1
        dataset.FrameOfReferenceUID = f"{given['StudyInstanceUID']}.9"
        dataset.ImagePositionPatient = [*corner, first_z + spacing[2] * index]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        dataset.Columns, dataset.Rows = columns, rows
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
        dataset.PixelData = np.ascontiguousarray(volume[:, :, index].T).astype("<i2").tobytes()
        for keyword, value in given.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{given['SeriesNumber']}-{index:03d}.dcm", enforce_file_format=True)
    return folder


def write_studies(root: Path, patients: int, size: int = 512, slices: int = 60) -> Path:
    """Write a study for each patient, with series ``noncontrast`` and ``arterial`` as C4KC-KiTS names them.

    The series' ``size`` pixels along both in-plane axes span 340 mm; their slices are 5 mm apart.
    """
    spacing = (FIELD_MM / size, FIELD_MM / size, 5.0)
    for number in range(patients):
        study: dict[str, Any] = {"PatientID": f"P{number}", "StudyInstanceUID": f"{UID_ROOT}{number + 1}"}
        for series, name in enumerate(("noncontrast", "arterial"), start=1):
            uid = f"{study['StudyInstanceUID']}.{series}"
            volume = body(size, slices, enhanced=series == 2, seed=number)
            described: dict[str, Any] = {"SeriesInstanceUID": uid, "SeriesNumber": series, "SeriesDescription": name}
            write_series(root / f"{number:04d}" / name, volume, spacing, **study, **described)
    return root


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
