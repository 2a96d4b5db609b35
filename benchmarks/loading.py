"""The training's loader: stacks a second, and memory with few and with many patients."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from torch.utils.data import DataLoader

from monai_nce.data import EpochSampler, SliceStackDataset
from monai_nce.transforms import WindowHUd

__all__ = ["measure_loader", "measure_memory", "sparse_patients"]

STATUS = Path("/proc/self/status")


def sparse_patients(folder: Path, patients: int, size: int, slices: int) -> list[dict[str, Any]]:
    """Items of a data set whose volumes take no disk: zeros that are not stored.

    Args:
        folder: for the files.
        patients: number of them, with a volume of each role.
        size: pixels along both in-plane axes.
        slices: of each volume.
    """
    folder.mkdir(parents=True, exist_ok=True)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((size, size, slices))
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    items = []
    for index in range(patients):
        item: dict[str, Any] = {"patient": f"{index:03d}"}
        for role in ("source", "target"):
            path = folder / f"{index:03d}_{role}.nii"
            with open(path, "wb") as file:
                file.write(header.binaryblock + bytes(4))
                file.truncate(352 + 2 * size * size * slices)
            item[role] = str(path)
        items.append(item)
    return items


def _loader(items: list[dict[str, Any]], batch_size: int, workers: int) -> DataLoader:
    dataset = SliceStackDataset(items, transform=WindowHUd(keys=["source", "target"]))
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochSampler(dataset),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def measure_loader(items: list[dict[str, Any]], batch_size: int, workers: int, seconds: float = 5.0) -> float:
    """Stacks of each role a second, shuffled, windowed and batched as in training.

    Args:
        items: of a data set.
        batch_size: stacks of a batch.
        workers: processes that load; 0 loads in this one.
        seconds: to measure for, once the first epoch's first batch is there.
    """
    loader = _loader(items, batch_size, workers)
    count, start = -1, 0.0
    while True:
        for batch in loader:
            if count < 0:
                count, start = 0, time.perf_counter()
                continue
            count += len(batch["source"])
            elapsed = time.perf_counter() - start
            if elapsed > seconds:
                return count / elapsed


def measure_memory(items: list[dict[str, Any]], stacks: int = 2000) -> dict[str, float]:
    """Memory and open files of a process that has read ``stacks`` shuffled stacks of each role, in MiB.

    Args:
        items: of a data set.
        stacks: to read.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory_after, (items, stacks))


def _memory_after(items: list[dict[str, Any]], stacks: int) -> dict[str, float]:
    loader = _loader(items, 4, 0)
    before = _resident()
    read = 0
    while read < stacks:
        for batch in loader:
            read += len(batch["source"])
            if read >= stacks:
                break
    return {"before_mib": before, "after_mib": _resident(), "open_files": len(list(Path("/proc/self/fd").iterdir()))}


def _resident() -> float:
    """Resident memory of this process, mapped files included, in MiB."""
    for line in STATUS.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"{STATUS}: no VmRSS")
