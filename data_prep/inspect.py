"""``python -m data_prep inspect``: list the volumes below a path, and say which of them can be used and why not.

A volume is accepted once every voxel has been decoded, by the reader that everything else uses.
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

from monai_nce.data.scans.examine import Examined, examine
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.foreign import first_advice
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.phase import CECT
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError

from .commands import inference_command, prepare_command
from .messages import one_line, progress_bar, say
from .parallel import gather, others_end_on_error, share

__all__ = ["NOTHING_FOUND", "REFUSED", "add_parser", "as_json", "find", "inspect"]

NOTHING_FOUND, REFUSED = 2, 3
HEAD = ("", "kind", "modality", "shape", "spacing in mm", "contrast", "description", "path")


def inspect(path: Path) -> tuple[list[Examined], list[str]]:
    """Examine every volume at or below a path, shared among the processes where ``torchrun`` started several.

    Returns:
        The volumes, without their voxels, and one line for each thing that was left out.

    Raises:
        InputError: if the path does not exist.
    """
    found: list[FoundVolume] = []
    notes: list[str] = []
    if is_main_process():
        with others_end_on_error():
            found, notes = find(path)
    own = share(list(enumerate(found)))
    if own is None:
        return [], []
    bar = progress_bar(own, "inspect", "volume", show=None if is_main_process() else False)
    examined = [(index, replace(examine(volume), volume=None)) for index, volume in bar]
    together = dict(one for part in gather(examined) for one in part)
    return [together[index] for index in sorted(together)], notes


def find(path: Path) -> tuple[list[FoundVolume], list[str]]:
    """Find the volumes at or below a path, and a line for each thing that was left out.

    Raises:
        InputError: if the path does not exist.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find_images(path)
    return found, [f"warning: {item.message}" for item in caught if issubclass(item.category, ReaderWarning)]


def as_json(volume: Examined) -> dict[str, Any]:
    """Describe a volume as in ``--json``'s list; what the headers do not tell is null."""
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
        "phase_evidence": volume.phase_evidence,
        "accepted": volume.accepted,
        "reason": volume.reason or None,
        "warnings": list(volume.warnings),
    }


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "inspect",
        help="what scans lie below a path, and which can be used",
        description="List every CT volume at or below PATH, DICOM series, NIfTI, MetaImage and NRRD files, and read"
        " each to its last voxel. Exit code 0: one was accepted; 2: no image was found; 3: all were refused.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file, or a folder that is searched recursively")
    parser.add_argument("--json", dest="as_list", action="store_true", help="print one JSON list in place of the table")
    parser.set_defaults(run=_run)


def _run(path: Path, as_list: bool) -> int:
    volumes: list[Examined] = []
    try:
        volumes, notes = inspect(path)
        if not is_main_process():
            return 0  # rank 0 has it all, and says it
        notes += [] if volumes else [f"error: {path}: no image found{first_advice(path)}"]
    except InputError as error:
        notes = [f"error: {error}"]
    accepted = [volume for volume in volumes if volume.accepted]
    if as_list:
        print(json.dumps([as_json(volume) for volume in volumes], indent=2, allow_nan=False))
    elif volumes:
        _print_table(volumes)
    say(*notes, *(f"refused: {volume.reason}" for volume in volumes if not volume.accepted))
    if len(accepted) > 1 and not as_list:
        print(f"next: {prepare_command(path)}")
    elif accepted and not as_list and accepted[0].phase_hint != CECT:
        print(f"next: {inference_command(accepted[0].found.path)}")
    return NOTHING_FOUND if not volumes else 0 if accepted else REFUSED


def _print_table(volumes: Sequence[Examined]) -> None:
    rows = [HEAD, *map(_row, volumes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    encoding = sys.stdout.encoding or "utf-8"
    for volume, row in zip((None, *volumes), rows, strict=True):
        cells = [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]
        notes = volume.warnings if volume is not None else ()
        for line in ("  ".join(cells), *(f"  note: {one_line(note)}" for note in notes)):
            print(line.encode(encoding, "backslashreplace").decode(encoding))  # whatever the terminal lacks


def _row(volume: Examined) -> tuple[str, ...]:
    found, affine = volume.found, volume.affine
    return (
        "accepted" if volume.accepted else "refused",
        found.kind,
        found.modality,
        "" if volume.shape is None else " × ".join(map(str, volume.shape)),
        "" if affine is None else " × ".join(f"{size:.3g}" for size in voxel_sizes(affine)),
        f"{volume.phase_hint} ({volume.phase_evidence})" if volume.phase_evidence else volume.phase_hint,
        found.description,
        one_line(found.path),
    )
