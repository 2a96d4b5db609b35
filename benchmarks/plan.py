"""Plan a table: its methods, presets, data sets and cells."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cell import CONFIGS, Cell, DataSet
from data_prep.registration import METHODS as REGISTRATIONS
from monai_nce.cli.training_choice import mri_settings
from monai_nce.data import read_datalist, read_datalist_file
from monai_nce.errors import InputError

__all__ = ["METHODS", "default_methods", "folder_name", "is_mri", "parse_folder_name", "plan"]

# method: the configuration files that are laid over train.json; in the order of the table's rows
METHODS: dict[str, list[str]] = {
    "identity": [],
    "unregistered": ["regression"],
    **{name: ["regression"] for name in REGISTRATIONS},
    "single": ["single"],
    "cycle": ["cycle"],
    "joint": ["joint"],
    "separate": [],
    "registered": ["registered"],
    "registered_joint": ["registered_joint"],
    "oracle": ["regression", "oracle"],
}
TEACHER = "separate"  # the method whose auxiliary network makes the synthetic sources of "registered"
TO_SYNTHETIC = "bspline"  # and the registration to them
SLOWEST = (
    "cycle",
    "voxelmorph",
    "registered_joint",
    "joint",
)  # started first, so that no core is left with one of them at the end
SWEEP = ["identity", "single", "cycle", "joint", "separate", "oracle"]
DEFAULT_METHODS = {"phantom": list(METHODS), "ixi": SWEEP, "ixi-like": SWEEP, "mr-pairs": SWEEP}
DISTORTIONS = [0.01, 0.02, 0.05]  # section 4.4.1
MRI = ("ixi", "ixi-like", "mr-pairs")  # each made once per distortion

# preset: what data sets are made of, and the configuration files that are laid over last
PHANTOM = {"small": {"patients": 24, "size": 128, "slices": 32}, "paper": {"patients": 96, "size": 256, "slices": 64}}
IXI_LIKE = {"small": {"subjects": 48, "size": 128, "slices": 24}, "paper": {"subjects": 96, "size": 128, "slices": 64}}
CT_CONFIGS: dict[str, list[str]] = {"small": [], "paper": ["paper"]}
MRI_CONFIGS = {"small": ["ixi"], "paper": ["paper", "paper_ixi"]}
FOLDER = re.compile(r"([a-z0-9]+(?:_joint)?)(?:_k([0-9.e-]+))?_s([0-9]+)")


def folder_name(method: str, distortion: float | None, seed: int) -> str:
    """Name a cell's folder, such as ``joint_k0.05_s0``."""
    return "_".join([method, *([] if distortion is None else [f"k{distortion:g}"]), f"s{seed}"])


def parse_folder_name(name: str) -> tuple[str, float | None, int] | None:
    """Read method, distortion and seed from the name of a cell's folder; None if it is no cell's."""
    if (found := FOLDER.fullmatch(name)) is None:
        return None
    method, k, seed = found.groups()
    return method, None if k is None else float(k), int(seed)


def is_mri(configs: Sequence[str]) -> bool:
    """Tell from its configuration files whether a cell is about MRI and not about CT."""
    return any(overlays[-1] in configs for overlays in MRI_CONFIGS.values())


def default_methods(data: str) -> list[str]:
    """Choose the rows of a table for which no methods are named: of a folder, those that it has the images for."""
    if data in DEFAULT_METHODS:
        return DEFAULT_METHODS[data]
    items = read_datalist(data, "training")
    paired = all({"source", "target"} <= item.keys() for item in items)
    aligned = any({"aligned_source", "target"} <= item.keys() for item in items)
    lacking = ("unregistered", *REGISTRATIONS, "registered", "registered_joint") * (not paired) + ("oracle",) * (
        not aligned
    )
    return [method for method in METHODS if method not in lacking]


def plan(
    data: str,
    methods: Sequence[str] | None,
    distortions: Sequence[float],
    seeds: Sequence[int],
    preset: str,
    out_dir: Path,
    scans: Mapping[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> list[Cell]:
    """List the cells of a table, the longest first, without identity, which every evaluation gives.

    ``data`` is ``phantom``, ``ixi-like``, a data set's folder, or ``ixi`` or ``mr-pairs``, made from ``scans``, which
    are arguments of :func:`~data_prep.ixi.prepare_ixi` or :func:`~data_prep.mr_pairs.prepare_mr_pairs`. None as
    ``methods`` stands for all that make sense. ``overrides`` are of the bundle's keys.
    """
    methods = default_methods(data) if methods is None else methods
    for method in methods:
        if method not in METHODS:
            raise InputError(f"method: expected some of {', '.join(METHODS)} but got {method!r}")
    if preset not in PHANTOM:
        raise InputError(f"preset: expected one of {', '.join(PHANTOM)} but got {preset!r}")
    for distortion in distortions:
        if not 0 <= distortion < 1:
            raise InputError(f"distortion: expected 0 or more, and less than 1, but got {distortion:g}")
    trained = [method for method in METHODS if method in methods and method != "identity"]
    if not trained:
        raise InputError("expected at least one method besides identity, which is part of every table")
    bases = _bases(data, distortions, preset, out_dir / "data", scans)
    made = {"source_domain": "t2", "provenance": {"scale": "common"} if data == "mr-pairs" else {}}
    about = made if data in MRI else {} if data in DEFAULT_METHODS else read_datalist_file(data)
    mri = mri_settings(about)
    more, named = mri or ([], {})

    def cell(method: str, k: float | None, base: DataSet, seed: int) -> Cell:
        configs = ["train", *METHODS[method], *(CT_CONFIGS if mri is None else MRI_CONFIGS)[preset], *more]
        source = base
        if method in REGISTRATIONS:
            source = _registered(base, method, out_dir / "data", configs)
        elif method == "registered":
            source = _registered(base, TO_SYNTHETIC, out_dir / "data", configs, cell(TEACHER, k, base, seed))
        folder = out_dir / "cells" / folder_name(method, k, seed)
        return Cell(method, k, seed, source, configs, {**named, **(overrides or {}), "method": method}, folder)

    cells = [cell(method, k, base, seed) for method in trained for k, base in bases for seed in seeds]
    # what waits for another cell comes last, when that is done
    return sorted(cells, key=lambda cell: (cell.data.cell is not None, [*SLOWEST, cell.method].index(cell.method)))


def _bases(
    data: str, distortions: Sequence[float], preset: str, data_dir: Path, scans: Mapping[str, Any] | None
) -> list[tuple[float | None, DataSet]]:
    """List the data sets as they were acquired or simulated, each with its distortion."""
    if data == "phantom":
        return [(None, DataSet(data_dir / "phantom", data, PHANTOM[preset]))]
    if data not in MRI:
        read_datalist(data, "training")  # refused here, not by each cell, where it is empty
        return [(None, DataSet(Path(data)))]
    if data == "ixi" and scans is None:
        raise InputError("--data ixi: name the T2 and PD scans as downloaded, by --t2 and --pd")
    if data == "mr-pairs" and scans is None:
        raise InputError("--data mr-pairs: its tables are made by python -m benchmarks.mr_pairs")
    made_from: Mapping[str, Any] = IXI_LIKE[preset] if scans is None else scans
    return [(k, DataSet(data_dir / f"{data}_k{k:g}", data, {**made_from, "distortion": k})) for k in distortions]


def _registered(
    base: DataSet, method: str, data_dir: Path, configs: Sequence[str], teacher: Cell | None = None
) -> DataSet:
    """Describe what a method of registration makes of a data set, in the window of the networks.

    With a ``teacher`` sources are registered to what the auxiliary network of that cell makes of the targets.
    """
    settings: dict[str, Any] = {"dataset_dir": str(base.path), "method": method}
    if is_mri(configs):  # else the window is CT's, which the methods have unless told otherwise
        config = json.loads((CONFIGS / f"{configs[-1]}.json").read_text(encoding="utf-8"))
        settings |= {key: float(config[key]) for key in ("window_level", "window_width")}
    name = f"{base.path.name}_{method}"
    if teacher is not None:
        settings |= {"auxiliary": str(teacher.path / "models" / "auxiliary.pt")}
        name += f"_to_synthetic_s{teacher.seed}"
    return DataSet(data_dir / name, "registered", settings, base, teacher)
