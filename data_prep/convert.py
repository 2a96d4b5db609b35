"""``python -m data_prep convert``: write one volume that ``inspect`` accepts as int16 HU in NIfTI, or nothing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from monai_nce.data.files.writable import check_name, check_writable
from monai_nce.data.nifti.reader import is_nifti_name
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.examine import Examined, examine
from monai_nce.data.scans.foreign import first_advice
from monai_nce.data.scans.found import FoundVolume
from monai_nce.errors import InputError

from .commands import inference_command
from .inspect import NOTHING_FOUND, REFUSED, find
from .messages import progress_bar, say

__all__ = ["add_parser", "matching"]

SEVERAL, NOT_WRITTEN = 4, 5
UID_TAIL = 12


def matching(found: list[FoundVolume], text: str) -> list[FoundVolume]:
    """Choose the volumes that ``--series`` means; all where it is empty.

    It is a series' whole description, or else a part of one, in any case, or the end of a SeriesInstanceUID; for other
    files a part of the name.
    """
    text = text.casefold()

    def fits(volume: FoundVolume) -> bool:
        if volume.kind != "dicom":
            return text in volume.path.name.casefold()
        return text in volume.description.casefold() or volume.series_uid.endswith(text)

    exact = [volume for volume in found if text and volume.kind == "dicom" and volume.description.casefold() == text]
    return exact or [volume for volume in found if fits(volume)]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "convert",
        help="one scan as NIfTI in HU",
        description="Write the one CT volume at or below PATH as int16 HU in NIfTI, or nothing. Exit code 2: nothing"
        " found, or --series matches nothing; 3: refused; 4: several fit; 5: the output cannot be written.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a file, or a folder that is searched recursively")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.nii.gz", help="the file to write")
    parser.add_argument(
        "--series", default="", metavar="TEXT", help="a series' description or end of its UID, or a file's name"
    )
    parser.set_defaults(run=_run)


def _run(path: Path, output: Path, series: str) -> int:
    if not is_nifti_name(output) or output.is_dir():
        return _fail(NOT_WRITTEN, f"error: {output}: expected the name of a file that ends in .nii or .nii.gz")
    try:
        check_writable(output.parent)
        check_name(output)
    except InputError as error:
        return _fail(NOT_WRITTEN, f"error: {error}")
    try:
        found, notes = find(path)
    except InputError as error:
        return _fail(NOTHING_FOUND, f"error: {error}")
    chosen = matching(found, series)
    if not chosen:
        return _fail(
            NOTHING_FOUND,
            *notes,
            f"error: {path}: no image {'of that name ' if found else ''}found{'' if found else first_advice(path)}",
        )
    accepted, refusals = _examine(chosen)
    if not accepted:
        return _fail(REFUSED, *notes, *refusals)
    if len(accepted) > 1:
        several = f"error: {path}: {len(accepted)} volumes fit; choose by --series"
        return _fail(SEVERAL, several, *map(_candidate, accepted))
    (volume,) = accepted
    if volume.volume is None or volume.affine is None or output.resolve() in (p.resolve() for p in volume.found.files):
        return _fail(NOT_WRITTEN, f"error: {output}: is the input itself")
    try:
        write_nifti_hu(output, volume.volume, volume.affine)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return _fail(NOT_WRITTEN, f"error: {output}: cannot be written: {reason}")
    say(*notes, *refusals, *(f"warning: {note}" for note in volume.warnings))
    print(f"next: {inference_command(output)}")
    return 0


def _fail(code: int, *lines: str) -> int:
    say(*lines)
    return code


def _examine(chosen: list[FoundVolume]) -> tuple[list[Examined], list[str]]:
    """Read the volumes: those accepted, and a line for each refused. Voxels are kept of a single one only."""
    accepted: list[Examined] = []
    refusals: list[str] = []
    for found in progress_bar(chosen, "convert", "volume", show=None):
        volume = examine(found)
        if not volume.accepted:
            refusals.append(f"refused: {volume.reason}")
            continue
        accepted.append(volume)
        if len(accepted) > 1:
            accepted = [replace(item, volume=None) for item in accepted]
    return accepted, refusals


def _candidate(volume: Examined) -> str:
    found = volume.found
    if found.kind != "dicom":
        return f"  {found.path}"
    slices = "" if volume.shape is None else f", {volume.shape[2]} slices"
    return f"  {found.description or 'no description'} (UID ...{found.series_uid[-UID_TAIL:]}{slices})"
