"""Write the phantom as a data set on disk, so that everything can be tried without patient data."""

from __future__ import annotations

import time
from os import PathLike
from pathlib import Path
from typing import Any

from monai_nce.data.dataset.datalist import read_datalist_file
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import DATALIST, DatasetWriter
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError
from monai_nce.phantom.patient import LABELS, make_phantom_patient
from monai_nce.terminal import progress_bar

__all__ = ["GENERATOR_VERSION", "ensure_phantom_dataset", "write_phantom_dataset"]

LOOK_EVERY_S = 0.5
GENERATOR_VERSION = 1  # raise it when the same parameters come to give other voxels


def write_phantom_dataset(
    out_dir: str | PathLike[str],
    patients: int = 24,
    size: int = 128,
    slices: int = 32,
    seed: int = 0,
    progress: bool = True,
    overwrite: bool = False,
) -> Path:
    """Make phantom patients and write them as a data set: NECT as source, CECT as target, aligned NECT and labels.

    Args:
        out_dir: folder of the data set, which is returned.
        patients: how many; of 24, 15 go to training, 3 to validation and 6 to test.
        size, slices: of each volume, see :func:`make_phantom_patient`.
        seed: of the anatomies and of the split.
        progress: show a bar.
        overwrite: replace a data set that is already there.

    Raises:
        InputError: if ``out_dir`` cannot take a data set, or there are no patients.
        ValueError: if a number is too small for the phantom.
    """
    if patients < 1:
        raise InputError(f"expected at least one phantom patient but got {patients}")
    splits = split_patients((f"{index:06d}" for index in range(patients)), seed=seed)
    split_of = {int(name): split for split, names in splits.items() for name in names}
    dataset = DatasetWriter(
        out_dir,
        name="monai-nce phantom",
        description="Synthetic abdomens in non-contrast and contrast-enhanced CT, geometric, not anatomical.",
        licence="Apache-2.0",
        kind="phantom",
        provenance={**_provenance(patients, size, slices, seed), "labels": dict(LABELS)},
        overwrite=overwrite,
    )
    with dataset:
        for index in progress_bar(range(patients), name="phantom", unit="patient", show=progress):
            made = make_phantom_patient(index, size=size, slices=slices, seed=seed)
            images = {"source": made.nect, "target": made.cect, "aligned_source": made.nect_aligned}
            dataset.add(split_of[index], made.patient, made.affine, **images, labels=made.labels)
    return Path(out_dir)


def ensure_phantom_dataset(
    dataset_dir: str | PathLike[str], patients: int = 24, size: int = 128, slices: int = 32, seed: int = 0
) -> Path:
    """Make the phantom data set of :func:`write_phantom_dataset` on the first call, and return its folder.

    Under ``torch.distributed`` rank 0 makes it, and the others wait for the file: an exchange would time out.

    Raises:
        InputError: if another data set lies there, or a phantom of other parameters.
    """
    folder = Path(dataset_dir)
    if not is_main_process():
        while not (folder / DATALIST).exists():
            time.sleep(LOOK_EVERY_S)
    elif not (folder / DATALIST).exists():
        print(f"no dataset_dir given: making a phantom of {patients} patients in {folder}", flush=True)
        write_phantom_dataset(folder, patients=patients, size=size, slices=slices, seed=seed)
    wanted = _provenance(patients, size, slices, seed)
    there = read_datalist_file(folder).get("provenance")
    found = {key: there.get(key) for key in wanted} if isinstance(there, dict) else None
    if found != wanted:
        raise InputError(f"{folder}: expected the phantom {wanted} but it holds {found}; name another folder")
    return folder


def _provenance(patients: int, size: int, slices: int, seed: int) -> dict[str, Any]:
    made_with = {"patients": patients, "size": size, "slices": slices, "seed": seed}
    # as the generator was called at first, so that phantoms made then are known again
    return {"generator": "monai_nce.data.phantom", "generator_version": GENERATOR_VERSION, **made_with}
