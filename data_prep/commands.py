"""Compose the command that a user wants next."""

from __future__ import annotations

import shlex
from pathlib import Path

from monai_nce.data.dataset.datalist import read_datalist_file

from .messages import one_line

__all__ = ["inference_command", "prepare_command", "training_command"]


def prepare_command(studies: Path) -> str:
    """Compose the command that makes a data set of the pairs in a folder of studies."""
    return f"nce prepare ct --studies {_quoted(studies)} -o DIR"


def inference_command(scan: Path) -> str:
    """Compose the command that enhances a scan."""
    return f"nce enhance {_quoted(scan)} -o DIR"


def training_command(dataset_dir: Path) -> str:
    """Compose the command that trains on a data set; scheme and preset are chosen by what it says of itself."""
    about = read_datalist_file(dataset_dir)
    if all(any(role in item for item in about["training"]) for role in ("source", "target")):
        return f"nce train --data {_quoted(dataset_dir)} -o DIR"
    mixture = f"mixture={ {one_line(dataset_dir): 0.2} }"  # it cannot stand alone
    return f"nce train --data MAIN -o DIR {shlex.quote(mixture)}"


def _quoted(path: Path) -> str:
    text = one_line(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
