"""List the data sets that a network learns from, for the file of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from monai_nce.data.dataset.datalist import read_datalist_file
from monai_nce.data.dataset.kind import dataset_kind

__all__ = ["training_data"]


def training_data(dataset_dirs: str | PathLike[str] | Sequence[str | PathLike[str]]) -> list[dict[str, Any]]:
    """Describe the training parts of data sets, one or several, as names and numbers.

    Returns:
        For each data set with training patients: ``name``; ``kind``, where it is known; ``patients``; ``scans``, the
        volumes of source and target together; and ``licence``.

    Raises:
        InputError: if a folder holds no data set.
    """
    several = [dataset_dirs] if isinstance(dataset_dirs, (str, PathLike)) else dataset_dirs
    found = []
    for folder in dict.fromkeys(Path(one).resolve() for one in several):
        content = read_datalist_file(folder)
        items = content["training"]
        name = content.get("name")
        about = {
            "name": name if isinstance(name, str) else "data set",
            "kind": dataset_kind(content),
            "patients": len(items),
            "scans": sum(role in item for item in items for role in ("source", "target")),
            "licence": content.get("licence"),
        }
        if items:
            found.append({key: value for key, value in about.items() if isinstance(value, (str, int))})
    return found
