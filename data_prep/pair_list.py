"""Read the pairs that a CSV file names: the columns ``patient``, ``nect``, ``cect`` and, if wanted, ``phase``.

A cell of ``nect`` or ``cect`` is a path, relative to the CSV file, or the SeriesInstanceUID of a series below a folder
of studies. Messages name rows by number and never say what the column ``patient`` holds.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from data_prep.archives import Series
from data_prep.phases import ENHANCED
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.phase import CECT, NECT
from monai_nce.data.scans.reader import find_volumes
from monai_nce.errors import InputError

__all__ = ["ListedPair", "read_pair_list"]

COLUMNS = ("patient", "nect", "cect")


@dataclass(frozen=True)
class ListedPair:
    """A row of the list: its NECT and CECT, or the problem with one of them, which may name a file."""

    row: int  # counted from 1 with the header
    series: tuple[Series, Series] | None
    problem: str = ""


def read_pair_list(path: Path, studies: Path | None = None) -> list[list[ListedPair]]:
    """Read the list and find its volumes.

    Args:
        path: the CSV file, UTF-8, with commas or semicolons.
        studies: folder of the series that cells name by SeriesInstanceUID.

    Returns:
        The rows of each patient, in the order of the patients' names; of each patient in the order of the file.

    Raises:
        InputError: if the file cannot be read, or a column, a row or a cell's content is missing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise InputError(f"{path}: not a readable CSV file") from error
    lines = text.splitlines()
    delimiter = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
    rows = csv.DictReader(lines, delimiter=delimiter)
    rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in rows.fieldnames]
    if missing:
        raise InputError(f"{path}: expected the columns {', '.join(COLUMNS)} but has no {' and '.join(missing)}")
    by_uid = {volume.series_uid: volume for volume in find_images(studies) if volume.series_uid} if studies else {}
    patients: dict[str, list[ListedPair]] = defaultdict(list)
    try:
        for number, row in enumerate(rows, start=2):
            cells = {name: (row.get(name) or "").strip() for name in (*COLUMNS, "phase")}
            if not any(cells.values()):
                continue
            empty = [name for name in COLUMNS if not cells[name]]
            if empty:
                raise InputError(f"{path}: row {number} has no {' and no '.join(empty)}")
            if cells["phase"] and cells["phase"] not in ENHANCED:
                raise InputError(f"{path}: row {number}: expected as phase {', '.join(ENHANCED)}, or nothing")
            patients[cells["patient"]].append(_pair(path, number, cells, by_uid))
    except csv.Error as error:
        raise InputError(f"{path}: not a readable CSV file") from error
    if not patients:
        raise InputError(f"{path}: holds no row below its header")
    return [patients[patient] for patient in sorted(patients)]


def _pair(path: Path, row: int, cells: dict[str, str], by_uid: dict[str, FoundVolume]) -> ListedPair:
    found: list[FoundVolume] = []
    for name in (NECT, CECT):
        try:
            found.append(by_uid.get(cells[name]) or _one(path.parent / cells[name]))
        except InputError as error:
            return ListedPair(row, None, f"row {row}: {name}: {error}")
    return ListedPair(row, (Series(found[0], NECT, "csv"), Series(found[1], cells["phase"] or CECT, "csv")))


def _one(path: Path) -> FoundVolume:
    volumes = find_volumes(path)
    if len(volumes) > 1:
        raise InputError(f"{path}: expected one volume but found {len(volumes)}")
    return volumes[0]
