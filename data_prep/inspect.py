"""``python -m data_prep inspect``: what volumes lie below a path, and which of them can be used.

A volume is accepted once every voxel has been decoded, by the reader that everything else uses. Exit code 0 if one was
accepted, 2 if no image was found, 3 if all were refused.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nibabel.affines import voxel_sizes
from tqdm import tqdm

from data_prep.lines import one_line, say
from data_prep.ranks import Ranks
from monai_nce.data.scans.examine import Examined, examine
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError

__all__ = ["NOTHING_FOUND", "REFUSED", "add_parser", "as_json", "find", "inspect"]

NOTHING_FOUND, REFUSED = 2, 3
HEAD = ("", "kind", "modality", "shape", "spacing in mm", "contrast", "description", "path")


def inspect(path: Path) -> tuple[list[Examined], list[str]]:
    """Examine every volume at or below a path, shared among the processes where ``torchrun`` started several.

    Args:
        path: a file or folder.

    Returns:
        The volumes, without their voxels, and one line for each thing that was left out.

    Raises:
        InputError: if the path does not exist.
    """
    ranks = Ranks()
    found: list[FoundVolume] = []
    notes: list[str] = []
    if ranks.rank == 0:
        with ranks.others_go_on_error():
            found, notes = find(path)
    own = ranks.share(list(enumerate(found)))
    if own is None:
        return [], []
    # disable=None: only on a terminal
    bar = tqdm(own, desc="inspect", unit="volume", leave=False, disable=True if ranks.rank else None)
    examined = [(index, replace(examine(volume), volume=None)) for index, volume in bar]
    together = dict(one for part in ranks.gather(examined) for one in part)
    return [together[index] for index in sorted(together)], notes


def find(path: Path) -> tuple[list[FoundVolume], list[str]]:
    """Find volumes, with the warnings as lines.

    Args:
        path: a file or folder.

    Returns:
        The volumes, and one line for each thing that was left out.

    Raises:
        InputError: if the path does not exist.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find_images(path)
    return found, [f"warning: {item.message}" for item in caught if issubclass(item.category, ReaderWarning)]


def as_json(volume: Examined) -> dict[str, Any]:
    """One element of ``--json``'s list; what the headers do not tell is null.

    Args:
        volume: what was examined.
    """
    affine = volume.affine
    return {
        "kind": volume.found.kind,
        "path": str(volume.found.path),
        "modality": volume.found.modality or None,
        "description": volume.found.description,
        "shape": None if volume.shape is None else [int(size) for size in volume.shape],
        "spacing_mm": None if affine is None else [float(size) for size in voxel_sizes(affine)],
        "affine": None if affine is None else affine.tolist(),
        "phase_hint": volume.phase_hint,
        "accepted": volume.accepted,
        "reason": volume.reason or None,
        "warnings": list(volume.warnings),
    }


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "inspect",
        help="what scans lie below a path, and which can be used",
        description="List every CT volume at or below PATH, DICOM series and NIfTI files, and read each to its last"
        " voxel. Exit code 0: one was accepted; 2: no image was found; 3: all were refused.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file or folder, walked whole")
    parser.add_argument("--json", action="store_true", help="print one JSON list in place of the table")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        volumes, notes = inspect(options.path)
    except InputError as error:
        volumes, notes = [], [f"error: {error}"]
    else:
        if not is_main_process():
            return 0  # rank 0 has it all, and says it
        if not volumes:
            notes.append(f"error: {options.path}: no image found")
    if options.json:
        print(json.dumps([as_json(volume) for volume in volumes], indent=2, allow_nan=False))
    else:
        _print_table(volumes)
    say([*notes, *(f"refused: {volume.reason}" for volume in volumes if not volume.accepted)])
    if not volumes:
        return NOTHING_FOUND
    return 0 if any(volume.accepted for volume in volumes) else REFUSED


def _print_table(volumes: Sequence[Examined]) -> None:
    if not volumes:
        return
    rows = [HEAD, *(_row(volume) for volume in volumes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]]) for row in rows]
    for volume, line in zip((None, *volumes), lines, strict=True):
        _print(line)
        for note in volume.warnings if volume is not None else ():
            _print(f"  note: {one_line(note)}")


def _row(volume: Examined) -> tuple[str, ...]:
    shape = "" if volume.shape is None else " × ".join(str(size) for size in volume.shape)
    sizes = "" if volume.affine is None else " × ".join(f"{size:.3g}" for size in voxel_sizes(volume.affine))
    found = volume.found
    status = "accepted" if volume.accepted else "refused"
    return (
        *(status, found.kind, found.modality, shape, sizes, volume.phase_hint, found.description),
        one_line(found.path),
    )


def _print(line: str) -> None:
    """Print a line whatever the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding))
