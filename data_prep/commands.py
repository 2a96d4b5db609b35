"""Compose the command that a user wants next, in the folder where they are."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai_nce.command_line import find_bundle
from monai_nce.data.dataset.datalist import read_datalist_file
from monai_nce.data.scans.reader import MR, modality_of

from .messages import one_line

__all__ = ["inference_command", "mri_settings", "prepare_command", "training_command"]

BUNDLE = "python -m monai.bundle run"


def prepare_command(studies: Path) -> str:
    """Compose the command that makes a data set of the pairs in a folder of studies."""
    return f"python -m {__package__} ct --studies {_quoted(studies)} --output_dir DIR"


def inference_command(scan: Path) -> str:
    """Compose the command that enhances a scan."""
    config_file = _quoted(Path(find_bundle(), "configs", "inference.json"))
    return f"{BUNDLE} inferring --config_file {config_file} --input {_quoted(scan)} --output_dir DIR"


def mri_settings(about: Mapping[str, Any]) -> tuple[list[str], dict[str, str]] | None:
    """Name the files behind ``ixi.json``, and the values of keys, that a data set of MRI asks for; None for one of CT.

    Args:
        about: what its ``datalist.json`` says of it.
    """
    if modality_of(about.get("source_domain", "nect")) != MR:
        return None
    made = about.get("provenance") or {}
    made = made.get("original", made)
    common = made.get("scale") == "common"
    usual = ["T1", "T1CE"] if common else ["T2", "PD"]
    keys = ("source_name", "target_name")
    named = {key: name for key, name, it in zip(keys, made.get("names", usual), usual, strict=True) if name != it}
    return ["t1ce"] * common, named


def training_command(dataset_dir: Path) -> str:
    """Compose the command that trains on a data set, by what its ``datalist.json`` says of it."""
    about = read_datalist_file(dataset_dir)
    made = about.get("provenance") or {}
    overlays, named = [], {}
    if made.get("tool") == "data_prep register":
        overlays, made = ["registered.json" if "auxiliary" in made else "regression.json"], made["original"]
    if (mri := mri_settings(about)) is not None:
        overlays += ["ixi.json", *(f"{name}.json" for name in mri[0])]
        named = mri[1]
    elif made.get("size", 0) >= 256:
        overlays.append("paper.json")
    files = [Path(find_bundle(), "configs", name).as_posix() for name in ("train.json", *overlays)]
    config_file = f'"[{",".join(map(repr, files))}]"' if overlays else _quoted(files[0])
    data = f"--dataset_dir {_quoted(dataset_dir)}"
    if not all(any(role in item for item in about["training"]) for role in ("source", "target")):  # cannot stand alone
        data = f"--dataset_dir MAIN --mixture {shlex.quote(repr({one_line(dataset_dir): 0.2}))}"
    data += "".join(f" --{key} {shlex.quote(name)}" for key, name in named.items())
    return f"{BUNDLE} training --config_file {config_file} {data} --output_dir DIR"


def _quoted(path: str | Path) -> str:
    return shlex.quote(one_line(path))
