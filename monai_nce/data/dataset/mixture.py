"""Mix the training patients of several data sets, each with a share of the slice stacks of every epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from monai_nce.data.dataset.datalist import read_datalist, read_datalist_file
from monai_nce.errors import InputError

__all__ = ["mixed_items"]


def mixed_items(
    items: Sequence[Mapping[str, Any]], dataset_dir: str | PathLike[str], mixture: Mapping[str, float]
) -> list[Mapping[str, Any]]:
    """Append the training items of further data sets to those of the main one.

    Args:
        items: training items of the main data set, as ``read_datalist`` gives them.
        dataset_dir: folder of the main data set.
        mixture: share of an epoch's slice stacks by folder; the main data set has the rest.

    Returns:
        The items; the further ones have their folder as ``data_set`` and its ``share`` too, which
        :class:`SliceStackDataset` reads.

    Raises:
        InputError: if the shares leave nothing for the main data set, a data set comes twice, cannot be read, has no
            training patient, or is of other domains.
    """
    _check_shares(mixture)
    mixed, seen = list(items), {Path(dataset_dir).resolve()}
    if mixture and not items:
        raise InputError(f"{dataset_dir}: expected training patients to mix others with but there are none")
    for folder, share in mixture.items():
        if Path(folder).resolve() in seen:
            raise InputError(f"mixture: {folder} comes twice")
        seen.add(Path(folder).resolve())
        wanted, found = _domains(dataset_dir), _domains(folder)
        if found != wanted:
            raise InputError(f"{folder}: expected source and target {wanted}, as {dataset_dir} has, but got {found}")
        mixed += [{**item, "data_set": folder, "share": share} for item in read_datalist(folder, "training")]
    return mixed


def _check_shares(mixture: Mapping[str, float]) -> None:
    shares = list(mixture.values()) if isinstance(mixture, Mapping) else [""]
    if not (all(isinstance(share, (int, float)) and share > 0 for share in shares) and sum(shares) < 1):
        raise InputError(f"mixture: expected shares above 0 with a sum below 1, by folder, but got {mixture!r}")


def _domains(folder: str | PathLike[str]) -> str:
    about = read_datalist_file(folder)
    return f"{about.get('source_domain')} and {about.get('target_domain')}"
