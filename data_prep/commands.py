"""Compose the command that a user wants next, from the root of the checkout."""

from __future__ import annotations

import shlex
from pathlib import Path

from data_prep.messages import one_line
from monai_nce.data.dataset.datalist import read_datalist_file

__all__ = ["inference_command", "prepare_command", "training_command"]

BUNDLE = "python -m monai.bundle run"
CONFIGS = "bundles/nce/configs"


def prepare_command(studies: Path) -> str:
    """Compose the command that makes a data set of the pairs in a folder of studies."""
    return f"python -m data_prep ct --studies {_quoted(studies)} --output_dir DIR"


def inference_command(scan: Path) -> str:
    """Compose the command that enhances a scan."""
    return f"{BUNDLE} inferring --config_file {CONFIGS}/inference.json --input {_quoted(scan)} --output_dir DIR"


def training_command(dataset_dir: Path) -> str:
    """Compose the command that trains on a data set, by what its ``datalist.json`` says of it."""
    about = read_datalist_file(dataset_dir)
    made = about.get("provenance") or {}
    overlays = []
    if made.get("tool") == "data_prep register":
        overlays, made = ["registered.json" if "auxiliary" in made else "regression.json"], made["original"]
    if about["source_domain"] == "t2":
        overlays.append("ixi.json")
    elif made.get("size", 0) >= 256:
        overlays.append("paper.json")
    files = ",".join(f"'{CONFIGS}/{name}'" for name in ("train.json", *overlays))
    config_file = f'"[{files}]"' if overlays else f"{CONFIGS}/train.json"
    data = f"--dataset_dir {_quoted(dataset_dir)}"
    if not all(any(role in item for item in about["training"]) for role in ("source", "target")):  # cannot stand alone
        data = f"--dataset_dir MAIN --mixture {shlex.quote(repr({one_line(dataset_dir): 0.2}))}"
    return f"{BUNDLE} training --config_file {config_file} {data} --output_dir DIR"


def _quoted(path: Path) -> str:
    return shlex.quote(one_line(path))
