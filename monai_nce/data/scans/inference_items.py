"""List the volumes that an inference reads and the files that it writes."""

from __future__ import annotations

import ast
import glob
import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from os import PathLike
from pathlib import Path
from typing import Any

from monai.data import MetaTensor

from monai_nce.data.dataset.provenance import Provenance
from monai_nce.data.dicom.save_series import check_output_format
from monai_nce.data.files.writable import check_name
from monai_nce.data.scans.earlier_result import (
    HALF_WIDTH,
    check_not_of_another_scan,
    earlier_results,
    half_width_file,
    page_file,
    picture_file,
    result_text,
    scan_hash,
    series_folder,
)
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.formats import holds_labels, volume_stem
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.phase import CECT, IMAGE, NECT, UNKNOWN, decide_phase
from monai_nce.data.scans.reader import CT, IN_MEMORY, find_volumes, one_volume, read_tensor
from monai_nce.data.scans.suitability import doubts
from monai_nce.distributed import world_size
from monai_nce.errors import InputError, fault_text, find_input_error
from monai_nce.terminal import progress_bar

__all__ = ["ALL", "LeftOut", "check_inference_items", "inference_items"]

ALL = "all"  # phases
TOLD = 3  # reasons in a line
Decision = Callable[[], tuple[str, str]]  # of a volume's phase, with the evidence


@dataclass(frozen=True)
class LeftOut:
    """Hold a volume that is not enhanced, in one line without patient data why, and whether that is a fault."""

    path: Path
    why: str
    fault: bool = True
    output: str | None = None  # that is there already


def inference_items(
    path: str | PathLike[str] | Sequence[str],
    output_dir: str | PathLike[str],
    suffix: str = "synthetic_cect",
    empty_ok: bool = False,
    modality: str = CT,
) -> list[dict[str, Any]]:
    """List the volumes below a path and the file that each becomes.

    ``scan.nii.gz`` becomes ``OUTPUT_DIR/scan_<suffix>.nii.gz``, a DICOM folder ``series`` ``series_<suffix>.nii.gz``,
    a link what it is called itself, and what lies in folders below the path goes to folders of the same name. Where
    several series share a folder, eight digits of a hash of the series follow the folder's name. Files and folders that
    carry the suffix are earlier results and left out.

    Args:
        path: a NIfTI, MetaImage or NRRD file, a DICOM series, or a folder of either; several of them, or a text such
            as ``['a', 'b']``, or patterns such as ``scans/*/CT``. Of several, results lie as they do themselves below
            the folder that they share.
        output_dir: folder of the results.
        suffix: end of the results' names; it must contain "synthetic".
        empty_ok: return an empty list where there is nothing, for workflows that are only set up.
        modality: ``"CT"`` or ``"MR"``.

    Returns:
        One dictionary per volume: ``image``, a :class:`~monai_nce.data.FoundVolume`; and ``output``, a path. Of several
        paths, one that holds no volume has one too, with ``left_out``, a :class:`LeftOut`, in place of the volume.

    Raises:
        InputError: if no path is given, nothing is there, two volumes would become one file, the name of one would be
            too long and it is the only one, or an input is itself an earlier result.
    """
    if not str(path):
        if empty_ok:
            return []
        raise InputError(
            "no input given: --input names a NIfTI, MetaImage or NRRD file, a DICOM folder or a folder of either"
        )
    if "synthetic" not in suffix:
        raise InputError(f"suffix: expected one that says 'synthetic' but got {suffix!r}")
    roots, output_dir = _inputs(path), Path(output_dir)
    shared = os.path.commonpath([os.path.dirname(os.path.abspath(root)) for root in roots])
    if output_dir.exists() and not output_dir.is_dir():
        raise InputError(f"{output_dir}: expected a folder for the results but it is a file")
    if empty_ok and len(roots) == 1 and (only := next(iter(roots))).is_dir() and not any(only.iterdir()):
        return []
    volumes, without = _find_all(roots, modality)
    ending = f"_{suffix}.nii.gz"
    ends = (ending, f"_{suffix}", f"_{suffix}{HALF_WIDTH}.nii.gz", f"_{suffix}{HALF_WIDTH}")
    fresh = [volume for volume in volumes if not _given_name(volume.path).endswith(ends)]
    if not fresh:
        raise InputError(f"{path}: holds nothing but results of an earlier inference (names end in _{suffix})")
    items: dict[Path, FoundVolume] = {}
    for volume in fresh:
        place = volume.path
        if len(roots) > 1:
            folder = Path(os.path.relpath(os.path.abspath(place.parent), shared))
        else:
            (root,) = roots
            folder = place.parent.relative_to(root) if place.is_relative_to(root) and place != root else Path()
        output = output_dir / folder / (_stem(volume) + ending)
        if output in items:
            raise InputError(f"{place}: would become {output}, as would {items[output].path}")
        if len(fresh) == 1:  # of several, the check leaves it out
            check_name(output)
        items[output] = volume
    listed = [{"image": volume, "output": str(output)} for output, volume in items.items()]
    return listed + [{"image": str(one.path), "left_out": one} for one in without]


def _inputs(given: str | PathLike[str] | Sequence[str]) -> dict[Path, bool]:
    """List what is given: one path, several, a text that lists several, or patterns; with whether its name was given.

    Raises:
        InputError: naming a pattern that nothing fits.
    """
    several: Sequence[str | PathLike[str]] = [given] if isinstance(given, (str, PathLike)) else given
    if isinstance(given, str) and given.startswith("[") and not os.path.lexists(given):
        with suppress(SyntaxError, ValueError):
            several = ast.literal_eval(given)
    roots: dict[Path, bool] = {}
    for one in map(str, several):
        named = os.path.lexists(one) or not glob.has_magic(one)
        fit = [one] if named else sorted(glob.glob(one, recursive=True))
        if not fit:
            raise InputError(f"{one}: no file or folder fits")
        roots |= {path: named or roots.get(path, False) for path in map(Path, fit)}
    return roots


def _find_all(roots: Mapping[Path, bool], modality: str) -> tuple[list[FoundVolume], list[LeftOut]]:
    """List the volumes below several paths, each once, and the paths that hold none: faults where they were named.

    Raises:
        InputError: if none holds any, or one is not there.
    """
    if len(roots) == 1:
        return find_volumes(next(iter(roots)), modality), []
    found: dict[tuple[str, ...], FoundVolume] = {}
    without: list[LeftOut] = []
    for root, named in roots.items():
        try:
            volumes = find_volumes(root, modality)
        except InputError as error:
            if not os.path.exists(root):
                raise
            without.append(LeftOut(root, str(error).removeprefix(f"{root}: "), fault=named))
        else:
            for volume in volumes:
                found.setdefault(tuple(map(os.path.abspath, volume.files)), volume)
    if not found:
        raise InputError(_all_of(without))
    return list(found.values()), without


def check_inference_items(
    items: MutableSequence[dict[str, Any]],
    modality: str = CT,
    source: str = NECT,
    strict: bool = False,
    output_format: str = "nifti",
    only: str = ALL,
    skip_existing: str | None = None,
    report: bool = False,
    uncertainty: bool = False,
    uncertainty_dicom: bool = False,
) -> list[LeftOut]:
    """Read every voxel before the first volume is computed, and remove from the items what cannot be enhanced.

    The volume of a single item stays in it, so that it is read once: ``image`` becomes the volume, and ``source`` what
    it was read from. Of a CT that is unlike what the weights were made for, it is warned: what the image shows
    (:func:`~monai_nce.data.scans.suitability.doubts`), and contrast medium that its header names. What was warned of
    an item, by its reader too, is its ``doubts``, a line each.

    Args:
        items: as :func:`inference_items` gives them; paths, lists of a series' files, and volumes ``(H, W, D)`` in
            memory will do as ``image``.
        modality: ``"CT"`` or ``"MR"``.
        source: the domain that the weights expect; for CECT, contrast medium is no doubt.
        strict: refuse the first fault, and what would be warned of.
        output_format: "nifti", "dicom" or "both".
        only: phase of the volumes that are wanted, ``"nect"`` or ``"cect"``; those of the other are left out, those of
            which nothing is known are not. ``"all"``: any.
        skip_existing: leave out volumes whose whole result is there already, made with the settings of this
            :func:`~monai_nce.data.scans.earlier_result.settings_hash`.
        report: a page belongs to the whole result.
        uncertainty, uncertainty_dicom: so do margins of error, and a series of them.

    Returns:
        What was removed, in order: volumes of another phase and label maps, which are no faults, and what cannot be
        read or written.

    Raises:
        InputError: for a volume that cannot be used if it is the only one or ``strict``; for one that is doubted if
            ``strict``; and where none is left. Of several processes none does, since that would end the others.
    """
    check_output_format((), output_format)
    if uncertainty_dicom and not (uncertainty and output_format != "nifti"):
        raise InputError("uncertainty_dicom: needs uncertainty, and output_format dicom or both")
    alone = len(items) == 1
    left_out: list[LeftOut] = []
    for item in progress_bar(list(items), name="checking the input", unit="volume", show=not alone, passing=True):
        if "left_out" in item:
            items.remove(item)
            left_out.append(item["left_out"])
            if strict and left_out[-1].fault:
                raise InputError(f"{left_out[-1].path}: {left_out[-1].why}")
            continue
        found = one_volume(item.get("source", item["image"]))
        try:
            check_output_format([item] if "output" in item else (), output_format)
            volume, notes = _read(item["image"] if found.kind == IN_MEMORY else found, modality, found.path)
            if skip_existing and _is_there(
                item["output"], found, volume, output_format, skip_existing, report, uncertainty, uncertainty_dicom
            ):
                items.remove(item)
                left_out.append(LeftOut(found.path, "its result is there already", False, item["output"]))
                continue
            # asked for twice, and it may have to look at the image
            decided = cache(partial(decide_phase, found, volume.numpy(), volume.affine.numpy()))
            other = _other_phase(decided, only) if modality == CT else ""
            if other:
                items.remove(item)
                left_out.append(LeftOut(found.path, other, fault=False))
                continue
            notes += _check_volume(item, found, volume, strict, decided if modality == CT else None, source)
            item["doubts"] = "\n".join(notes)
        except Exception as error:
            reason = find_input_error(error)
            labels = not alone and reason is not None and found.kind != "dicom" and holds_labels(found.path)
            if (alone and world_size() == 1) or (strict and not labels):
                raise
            why = "holds labels" if labels else fault_text(error, "read").removeprefix(f"{found.path}: ")
            items.remove(item)
            left_out.append(LeftOut(found.path, why, fault=not labels))
            continue
        if alone:
            item.update(image=volume, source=found)
    if left_out and not items and world_size() == 1 and not any(one.output for one in left_out):
        raise InputError(f"{_all_of(left_out)} (none of {len(left_out)} volumes can be enhanced)")
    return left_out


def _all_of(left_out: Sequence[LeftOut]) -> str:
    """Say of each why it was left out, faults first, as far as a line has room."""
    each = [f"{one.path}: {one.why}" for one in sorted(left_out, key=lambda one: not one.fault)]
    return "; ".join(each[:TOLD]) + (f"; and {len(each) - TOLD} more" if len(each) > TOLD else "")


def _check_volume(
    item: Mapping[str, Any],
    found: FoundVolume,
    volume: MetaTensor,
    strict: bool,
    decided: Decision | None,
    source: str,
) -> list[str]:
    """Refuse a volume whose result would replace another scan's; warn of doubts and return them, or refuse them."""
    if "output" in item:
        check_name(item["output"])
        if earlier_results(item["output"]):
            check_not_of_another_scan(item["output"], _hash(found, volume))
    doubted = _doubts(found, volume, decided, source.lower() == CECT) if decided else []
    for doubt in doubted:
        if strict:
            raise InputError(f"{found.path}: {doubt} (refused because of --strict)")
        warnings.warn(f"{found.path}: {doubt}", ReaderWarning, stacklevel=3)
    return doubted


def _read(source: Any, modality: str, path: Path) -> tuple[MetaTensor, list[str]]:
    """Read a volume; return with it what its reader warned of, without the path."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            volume = read_tensor(source, modality)
    finally:  # also where it is refused then
        for one in caught:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    notes = [str(one.message) for one in caught if issubclass(one.category, ReaderWarning)]
    return volume, [note.replace(f"{path}: ", "").replace(str(path), "the scan") for note in notes]


def _is_there(
    output: str,
    found: FoundVolume,
    volume: MetaTensor,
    output_format: str,
    settings: str,
    report: bool,
    uncertainty: bool,
    uncertainty_dicom: bool,
) -> bool:
    """Return whether all that would be written of a volume is there, of this scan and made with these settings."""
    wanted = [picture_file(output), *([page_file(output)] if report else [])]
    wanted += [Path(output)] if output_format != "dicom" else []
    wanted += [series_folder(output)] if output_format != "nifti" else []
    margins = half_width_file(output)
    wanted += [margins] * uncertainty + [series_folder(margins)] * uncertainty_dicom
    if not set(wanted) <= set(earlier_results(output)):
        return False
    mark = Provenance(scan_hash=_hash(found, volume), settings_hash=settings).scan_mark
    return all(mark in result_text(result) for result in wanted)


def _hash(found: FoundVolume, volume: MetaTensor) -> str:
    return scan_hash(found, volume.numpy(), volume.affine.numpy())


def _other_phase(decided: Decision, only: str) -> str:
    """Say why a volume is of another phase than the one that is wanted; nothing if it is not known to be."""
    if only == ALL:
        return ""
    phase, evidence = decided()
    return "" if phase in (only, UNKNOWN) else f"is {phase.upper()} by its {evidence}, and --only is {only}"


def _doubts(found: FoundVolume, volume: MetaTensor, decided: Decision, enhanced_ok: bool) -> list[str]:
    seen = doubts(volume.numpy(), volume.affine.numpy(), enhanced_ok)
    if not enhanced_ok and not any("contrast medium" in doubt for doubt in seen):
        phase, evidence = decided()
        if phase == CECT and evidence != IMAGE:
            seen.append(f"seems to show contrast medium already, by its header ({evidence})")
    if found.calculated:
        seen.append(f"{found.calculated}; not a CT as acquired")
    return seen


def _given_name(path: Path) -> str:
    """Return a path's last name as it was given: a link's target may carry a patient's name."""
    if path.name not in ("", os.pardir):
        return path.name
    as_shown = Path(os.path.normpath(os.path.join(os.environ.get("PWD", ""), path)))  # by a shell that followed a link
    same = bool(as_shown.name) and as_shown.exists() and as_shown.samefile(path)
    return (as_shown if same else path.resolve()).name


def _stem(volume: FoundVolume) -> str:
    name = _given_name(volume.path)
    if volume.kind != "dicom":
        return volume_stem(name)
    if volume.alone:
        return name
    # never a tag: a description could be a path, or hold a name
    key = volume.series_uid or str(volume.files[0].name)
    return f"{name}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"
