"""``python -m data_prep register``: register a data set's training sources to their targets.

The comparators of the paper's Fig. 2: what is left when misaligned pairs are registered and the target network then
learns from them directly, with Eq. 5. Validation and test stay as they are, so that all methods are judged on the same
volumes.

With ``--auxiliary`` the sources are registered to what an auxiliary network makes of the targets: the paper's future
work (section 5), for ``registered.json``.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel.affines import voxel_sizes

from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.data.dataset.kind import dataset_kind
from monai_nce.data.dataset.writer import CONTRAST, ROLES, SPLITS, DatasetWriter
from monai_nce.errors import InputError
from monai_nce.transforms.registration_mask import RegistrationMask
from monai_nce.transforms.window import WindowHU

from .arguments import add_number, add_output
from .messages import progress_bar
from .parallel import in_processes
from .registration import METHODS, SIMILARITIES, Pair, Registration, make_registration, pull
from .synthetic_source import AuxiliaryNetwork

__all__ = ["add_parser", "register_dataset"]

LEAST_SIDE = 4  # voxels along each axis that a registration needs
DOMAINS = {"source_domain": "nect", "target_domain": "cect"}
MADE = ("synthetic_source", "mask")  # here, from the auxiliary network
UNNAMED = {"name": "data set", "description": "", "licence": "that of the original", **DOMAINS}


def register_dataset(
    dataset_dir: str | PathLike[str],
    out_dir: str | PathLike[str],
    method: str,
    *,
    auxiliary: str | PathLike[str] | None = None,
    similarity: str | None = None,
    largest_residual: float = 0.4,
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

    With the weights of an ``auxiliary`` network each training patient also gets the ``synthetic_source``, to which the
    source is registered, and the ``mask`` of :class:`RegistrationMask` with that ``largest_residual``; ``report.json``
    says the share of each patient's voxels that count. ``similarity`` is then correlation by default, else mutual
    information.

    Raises:
        InputError: if the data set cannot be used or has no training pairs, a volume is too small or cannot be
            registered, the method, the similarity or the window is none, the weights are no auxiliary network's for
            this data, or ``out_dir`` cannot take a data set.
        ChildProcessError: if a worker was killed.
    """
    if method not in METHODS:
        raise InputError(f"method: expected one of {', '.join(METHODS)} but got {method!r}")
    if Path(dataset_dir).resolve() == Path(out_dir).resolve():
        raise InputError(f"{out_dir}: expected another folder than that of the data set to register")
    content, items = read_datalist_file(dataset_dir), read_datalist(dataset_dir)
    items = [{key: value for key, value in item.items() if key not in MADE} for item in items]
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
    similarity = similarity or ("mutual_information" if auxiliary is None else "correlation")
    registration = make_registration(method, **window, seed=seed, progress=progress, similarity=similarity)
    network, mask = None, None
    if auxiliary is not None:
        network = AuxiliaryNetwork(auxiliary, WindowHU(**window), _spacing(next(iter(pairs.values()))["target"])[0])
        mask = RegistrationMask(largest_residual)
    header = _header(content, method, registration.settings(), len(pairs), network, mask)
    shares = {}
    with DatasetWriter(out_dir, **header, overwrite=overwrite) as dataset, tempfile.TemporaryDirectory() as folder:
        if lone:
            without = f"{len(lone)} training patients without source or target are left out: {', '.join(lone)}"
            warnings.warn(without, stacklevel=2)
        if network is not None:
            made = network.write(pairs.values(), Path(folder), progress)
            pairs = {item["patient"]: item for item in made}
        if registration.learns:
            registration.fit([_pair(item) for item in pairs.values()])
        work, workers = partial(_register, registration, mask), 1 if registration.learns else workers
        moved = in_processes(work, pairs.values(), workers)
        for patient, volumes in progress_bar(moved, f"register, {method}", "patient", progress, total=len(pairs)):
            _add(dataset, pairs[patient], volumes)
            if "mask" in volumes:
                shares[patient] = round(float(volumes["mask"].mean()), 4)
        for item in items:
            if item["split"] != "training":
                _add(dataset, item)
        kept = [item for item in items if item["patient"] in pairs or item["split"] != "training"]
        # in the original's order, not in that in which workers were done
        if shares:
            dataset.report({"voxels_that_count": {patient: shares[patient] for patient in pairs}})
        dataset.resplit({split: [i["patient"] for i in kept if i["split"] == split] for split in SPLITS})
    return Path(out_dir)


def _header(
    content: Mapping[str, Any],
    method: str,
    settings: dict[str, Any],
    patients: int,
    network: AuxiliaryNetwork | None,
    mask: RegistrationMask | None,
) -> dict[str, Any]:
    """Describe the new data set: the original's description, and what was done to it."""
    about = {**UNNAMED, **{key: content[key] for key in UNNAMED if key in content}}
    original = content.get("provenance")
    original = dict(original) if isinstance(original, dict) else {}
    labels = {"labels": original.pop("labels")} if "labels" in original else {}
    made = {"tool": "data_prep register", "method": method, "settings": settings, "registered_patients": patients}
    to = "their targets"
    if network is not None and mask is not None:
        to = "synthetic ones, which an auxiliary network made of the targets"
        made |= {"auxiliary": network.about(), "largest_residual": mask.largest_residual}
    return {
        **about,
        "name": f"{about['name']}, registered ({method}{'' if network is None else ', to synthetic sources'})",
        "kind": dataset_kind(content),
        "description": f"{about['description']} Training sources registered to {to}.".strip(),
        # the evaluation looks for the labels at the top
        "provenance": {**made, "original_name": about["name"], "original": original, **labels},
    }


def _register(
    registration: Registration, mask: RegistrationMask | None, item: Mapping[str, Any]
) -> tuple[str, dict[str, np.ndarray]]:
    """Register a patient's source; return what changes of the volumes, with their roles."""
    fixed, moving, spacing = _pair(item)
    try:
        if mask is None:
            return item["patient"], {"source": registration.register(fixed, moving, spacing)}
        points = registration.points(fixed, moving, spacing)
    except RuntimeError as error:  # ITK's, whose last line says what went wrong
        reason = str(error).strip().splitlines()[-1:]
        raise InputError(f"patient {item['patient']}: cannot be registered: {' '.join(reason)}") from error
    moved = pull(moving, points, spacing)
    voxels = torch.from_numpy(points / np.reshape(np.array(spacing, dtype=points.dtype), (3, 1, 1, 1)))
    after, wanted = (registration.window(np.asarray(volume))[None, None] for volume in (moved, fixed))
    return item["patient"], {"source": moved, "mask": mask(voxels[None], after, wanted)[0, 0].numpy().astype(np.uint8)}


def _pair(item: Mapping[str, Any]) -> Pair:
    """Map a patient's volumes, to be read when they are needed."""
    fixed = item.get("synthetic_source", item["target"])
    return _voxels(_open(fixed)), _voxels(_open(item["source"])), _spacing(fixed)


def _open(path: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(path)


def _spacing(path: str) -> list[float]:
    return [float(side) for side in voxel_sizes(_open(path).affine)]


def _voxels(image: nib.Nifti1Image) -> np.ndarray:
    return np.asanyarray(image.dataobj)


def _add(dataset: DatasetWriter, item: Mapping[str, Any], made: Mapping[str, np.ndarray] | None = None) -> None:
    """Copy a patient, with other volumes where some are given."""
    paths = {role: item[role] for role in ROLES if role in item}
    # each file once: an aligned source that is the source stays one file
    images = {path: _open(path) for path in paths.values()}
    voxels = {path: _voxels(image) for path, image in images.items()}
    volumes = {role: voxels[path] for role, path in paths.items()} | dict(made or {})
    contrast = {key: item[key] for key in CONTRAST if key in item}
    dataset.add(item["split"], item["patient"], next(iter(images.values())).affine, **volumes, **contrast)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "register",
        help="a data set with its training sources registered to their targets",
        description="Copy a data set and register the training patients' sources to their targets: the comparators of"
        " the paper's Fig. 2. Validation and test stay as they are. With --auxiliary the sources are"
        " registered to synthetic ones, made of the targets: what registered.json learns from.",
    )
    parser.add_argument("dataset_dir", type=Path, metavar="DATASET", help="folder of the data set")
    parser.add_argument("--method", choices=METHODS, required=True)
    add_output(parser, seed="of the method")
    parser.add_argument(
        "--auxiliary", type=Path, metavar="FILE", help="models/auxiliary.pt of a training on this data set"
    )
    parser.add_argument(
        "--similarity",
        choices=SIMILARITIES,
        help="of the images (default: mutual_information; with --auxiliary, where both show one contrast, correlation)",
    )
    add_number(
        parser, "--largest_residual", 0.4, "with --auxiliary: difference on [-1, 1] beyond which a voxel counts nothing"
    )
    add_number(parser, "--window_level", 50.0, "centre", metavar="HU")
    add_number(parser, "--window_width", 300.0, "width", metavar="HU")
    add_number(parser, "--num_workers", 1, "processes; one for voxelmorph", dest="workers")
    parser.set_defaults(run=register_dataset)
