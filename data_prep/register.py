"""``python -m data_prep register``: register a data set's training sources to their targets.

The comparators of the paper's Fig. 2: what is left when misaligned pairs are registered and the target network then
learns from them directly, with Eq. 5. Validation and test stay as they are, so that all methods are judged on the same
volumes.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from data_prep.arguments import add_number, add_output
from data_prep.messages import progress_bar
from data_prep.parallel import in_processes
from data_prep.registration import METHODS, Pair, Registration, make_registration
from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.dataset.kind import dataset_kind
from monai_nce.data.dataset.writer import CONTRAST, ROLES, SPLITS, DatasetWriter
from monai_nce.errors import InputError

__all__ = ["add_parser", "register_dataset"]

LEAST_SIDE = 4  # voxels along each axis that a registration needs
DOMAINS = {"source_domain": "nect", "target_domain": "cect"}
UNNAMED = {"name": "data set", "description": "", "licence": "that of the original", **DOMAINS}


def register_dataset(
    dataset_dir: str | PathLike[str],
    out_dir: str | PathLike[str],
    method: str,
    *,
    window_level: float = 50.0,
    window_width: float = 300.0,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write a copy of a data set in which each training patient's source is registered to the target.

    Arguments are the command's options; returns ``out_dir``. VoxelMorph, which learns from all patients, takes one
    worker. Training patients that lack one of the two are left out with a warning. All other volumes are those of the
    original, voxel by voxel.

    Raises:
        InputError: if the data set cannot be used or has no training pairs, a volume is too small or cannot be
            registered, the method or the window is none, or ``out_dir`` cannot take a data set.
        ChildProcessError: if a worker was killed.
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)} but got {method!r}")
    if Path(dataset_dir).resolve() == Path(out_dir).resolve():
        raise InputError(f"{out_dir}: expected another folder than that of the data set to register")
    content, items = read_datalist_file(dataset_dir), read_datalist(dataset_dir)
    training = [item for item in items if item["split"] == "training"]
    pairs = {item["patient"]: item for item in training if {"source", "target"} <= item.keys()}
    lone = [item["patient"] for item in training if item["patient"] not in pairs]
    if not pairs:
        raise InputError(f"{dataset_dir}: no training patient has both a source and a target; nothing to register")
    for item in pairs.values():
        shape = _open(item["source"]).shape
        if min(shape) < LEAST_SIDE:
            raise InputError(f"{item['source']}: expected {LEAST_SIDE} voxels or more on each axis but got {shape}")
    window = {"window_level": window_level, "window_width": window_width}
    registration = make_registration(method, **window, seed=seed, progress=progress)
    header = _header(content, method, registration.settings(), len(pairs))
    with DatasetWriter(out_dir, **header, overwrite=overwrite) as dataset:
        if lone:
            without = f"{len(lone)} training patients without source or target are left out: {', '.join(lone)}"
            warnings.warn(without, stacklevel=2)
        if registration.learns:
            registration.fit([_pair(item) for item in pairs.values()])
        moved = in_processes(partial(_register, registration), pairs.values(), 1 if registration.learns else workers)
        for patient, source in progress_bar(moved, f"register, {method}", "patient", progress, total=len(pairs)):
            _add(dataset, pairs[patient], source)
        for item in items:
            if item["split"] != "training":
                _add(dataset, item)
        kept = [item for item in items if item["patient"] in pairs or item["split"] != "training"]
        # in the original's order, not in that in which workers were done
        dataset.resplit({split: [i["patient"] for i in kept if i["split"] == split] for split in SPLITS})
    return Path(out_dir)


def _header(content: Mapping[str, Any], method: str, settings: dict[str, Any], patients: int) -> dict[str, Any]:
    """Describe the new data set: the original's description, and what was done to it."""
    about = {**UNNAMED, **{key: content[key] for key in UNNAMED if key in content}}
    original = content.get("provenance")
    original = dict(original) if isinstance(original, dict) else {}
    labels = {"labels": original.pop("labels")} if "labels" in original else {}
    made = {"tool": "data_prep register", "method": method, "settings": settings, "registered_patients": patients}
    return {
        **about,
        "name": f"{about['name']}, registered ({method})",
        "kind": dataset_kind(content),
        "description": f"{about['description']} Training sources registered to their targets.".strip(),
        # the evaluation looks for the labels at the top
        "provenance": {**made, "original_name": about["name"], "original": original, **labels},
    }


def _register(registration: Registration, item: Mapping[str, Any]) -> tuple[str, np.ndarray]:
    try:
        return item["patient"], registration.register(*_pair(item))
    except RuntimeError as error:  # ITK's, whose last line says what went wrong
        reason = str(error).strip().splitlines()[-1:]
        raise InputError(f"patient {item['patient']}: cannot be registered: {' '.join(reason)}") from error


def _pair(item: Mapping[str, Any]) -> Pair:
    """Map a patient's volumes, to be read when they are needed."""
    fixed, moving = _open(item["target"]), _open(item["source"])
    return _voxels(fixed), _voxels(moving), [float(side) for side in voxel_sizes(fixed.affine)]


def _open(path: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


def _voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asanyarray(image.dataobj)


def _add(dataset: DatasetWriter, item: Mapping[str, Any], source: np.ndarray | None = None) -> None:
    """Copy a patient, with another source where one is given."""
    paths = {role: item[role] for role in ROLES if role in item}
    # each file once: an aligned source that is the source stays one file
    images = {path: _open(path) for path in paths.values()}
    voxels = {path: _voxels(image) for path, image in images.items()}
    volumes = {role: voxels[path] for role, path in paths.items()}
    if source is not None:
        volumes["source"] = source
    contrast = {key: item[key] for key in CONTRAST if key in item}
    dataset.add(item["split"], item["patient"], next(iter(images.values())).affine, **volumes, **contrast)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "register",
        help="a data set with its training sources registered to their targets",
        description="Copy a data set and register the training patients' sources to their targets: the comparators of"
        " the paper's Fig. 2. Validation and test stay as they are.",
    )
    parser.add_argument("dataset_dir", type=Path, metavar="DATASET", help="folder of the data set")
    parser.add_argument("--method", choices=METHODS, required=True)
    add_output(parser, seed="of the method")
    add_number(parser, "--window_level", 50.0, "centre", metavar="HU")
    add_number(parser, "--window_width", 300.0, "width", metavar="HU")
    add_number(parser, "--num_workers", 1, "processes; one for voxelmorph", dest="workers")
    parser.set_defaults(run=register_dataset)
