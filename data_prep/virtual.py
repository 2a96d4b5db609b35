"""``python -m data_prep virtual``: make virtual patients, pairs with aligned truth, from segmented CTs of real ones.

Each label map is read and completed once, into a temporary file that the worker processes share; of the user's maps the
data set keeps checksums, no names.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import pickle
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from monai_nce import __version__
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import REPORT, SPLITS, DatasetWriter
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError
from monai_nce.virtual import (
    LABELS,
    PHASES,
    Anatomy,
    VirtualPatient,
    complete,
    make_virtual_patient,
    read_label_map,
)
from monai_nce.virtual.label_map import label_map_files
from monai_nce.virtual.naming import NAMINGS

from .arguments import add_fractions, add_licence, add_number, add_output, add_work, run_resumable, take_workers
from .contact_sheet import write_contact_sheets
from .messages import MessageLog, progress_bar, warn_of_empty_splits
from .parallel import in_processes

__all__ = ["GENERATOR_VERSION", "LabelSource", "add_parser", "write_virtual_dataset"]

GENERATOR_VERSION = 2  # raise it when the same parameters come to give other voxels


@dataclass(frozen=True)
class LabelSource:
    """A label map and how its structures are named, as ``read_label_map`` takes them.

    With ``hold_out`` its patients are all for test.
    """

    path: Path
    naming: str
    hold_out: bool = False


@dataclass(frozen=True)
class _Job:
    """A patient to make: its number and the file of its anatomy."""

    index: int
    anatomy: int
    file: Path


def write_virtual_dataset(
    out_dir: str | PathLike[str],
    labels: Sequence[LabelSource],
    *,
    patients: int = 24,
    size: int = 128,
    slices: int = 32,
    phase: str | None = None,
    validation_fraction: float = 0.125,
    test_fraction: float = 0.25,
    licence: str = "",
    seed: int = 0,
    workers: int | str = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Make virtual patients and write them as a data set: NECT as source, CECT as target, aligned NECT and labels.

    The result depends on label maps, numbers and seed alone, not on ``workers``. The patients of a split are shared
    evenly among its anatomies: held-out ones make the test patients, where there are any, and the others the rest.

    Args:
        out_dir: folder of the data set, which is returned.
        labels: label maps of the anatomies.
        patients: how many.
        size, slices: of each volume.
        phase: of ``PHASES``; None for one drawn for each patient.
        validation_fraction: share of the patients for validation.
        test_fraction: share of the patients for test.
        licence: of the label maps, with their source.
        seed: of the patients and of the split.
        workers: processes, a patient each.
        overwrite: replace a data set that is already there.
        resume: go on where a run with the same label maps and numbers stopped.
        progress: show bars.

    Raises:
        InputError: if a label map cannot be used, a number is out of range, or ``out_dir`` cannot take a data set.
        ChildProcessError: if a worker was killed.
    """
    if patients < 1:
        raise InputError(f"expected at least one virtual patient but got {patients}")
    splits = split_patients((f"{index:06d}" for index in range(patients)), validation_fraction, test_fraction, seed)
    anatomy_of = _share_out(splits, [source.hold_out for source in labels])
    made = {
        "generator": "monai_nce.virtual",
        "generator_version": GENERATOR_VERSION,
        "version": __version__,
        "patients": patients,
        "size": size,
        "slices": slices,
        "phase": phase,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "seed": seed,
        "anatomies": [_describe(source) for source in labels],
    }
    dataset = DatasetWriter(
        out_dir,
        name="monai-nce virtual",
        description="Synthetic non-contrast and contrast-enhanced CT over the anatomy of segmented CTs.",
        licence=licence or "that of the label maps it was made from",
        kind="virtual",
        provenance={**made, "labels": dict(LABELS)},
        overwrite=overwrite,
        work=hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest(),
        resume=resume,
    )
    shared = Path(out_dir).resolve().parent if isinstance(workers, str) else None  # where other machines see it
    with dataset, TemporaryDirectory(dir=shared) as folder:
        finished = {row["index"] for row in dataset.finished.values()}
        wanted = {index: anatomy for index, anatomy in anatomy_of.items() if index not in finished}
        files = {number: Path(folder) / f"{number}.pickle.gz" for number in set(wanted.values())}
        _complete_all(labels, files, workers, progress)
        # by anatomy, since a process keeps the last one in memory
        jobs = [_Job(i, number, files[number]) for i, number in sorted(wanted.items(), key=lambda one: one[::-1])]
        make = partial(_make, size=size, slices=slices, seed=seed, phase=phase)
        bar = progress_bar(
            in_processes(make, jobs, workers), "virtual", "patient", progress, total=patients, initial=len(finished)
        )
        for job, patient in bar:
            _add(dataset, job, patient)
        dataset.take_over()
        _sort_and_report(dataset, splits, made)
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    print(f"virtual: {patients} patients ({counts}) of {len(labels)} anatomies; see {Path(out_dir) / REPORT}")
    warn_of_empty_splits(splits, [split for split in SPLITS if made.get(f"{split}_fraction", 1)])
    return Path(out_dir)


def _share_out(splits: Mapping[str, Sequence[str]], held_out: Sequence[bool]) -> dict[int, int]:
    """Give each patient the number of its anatomy.

    Raises:
        InputError: if there is no anatomy for training, or no test patient for one that is held out.
    """
    if all(held_out):
        raise InputError(f"expected a label map{' that is not held out, for training' if held_out else ''}")
    if any(held_out) and not splits["test"]:
        raise InputError("hold out: expected test patients but there are none; raise patients or test fraction")
    anatomy_of = {}
    for split, patients in splits.items():
        tested = any(held_out) and split == "test"
        pool = [number for number, held in enumerate(held_out) if held == tested]
        anatomy_of.update({int(name): pool[place % len(pool)] for place, name in enumerate(patients)})
    return anatomy_of


def _describe(source: LabelSource) -> dict[str, Any]:
    """Describe a label map without the names of files, but for a folder's, which go into its hash."""
    naming = {"naming": source.naming}
    if source.naming not in NAMINGS:
        naming = {"naming": "own", "naming_sha256": _sha256(Path(source.naming))}
    files = label_map_files(source.path)
    if source.path.is_dir():  # as `sha256sum * | sha256sum`
        lines = "".join(f"{_sha256(file)}  {file.name}\n" for file in files)
        checksum = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
    else:
        checksum = _sha256(files[0])
    return {"sha256": checksum, **naming, "hold_out": source.hold_out}


def _sha256(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _complete_all(labels: Sequence[LabelSource], files: Mapping[int, Path], workers: int | str, progress: bool) -> None:
    """Complete the label maps that have a file into it; the others are read and checked all the same."""
    stored = in_processes(partial(_store, labels, files), range(len(labels)), workers)
    log = MessageLog("")
    for messages in progress_bar(stored, "anatomies", "label map", progress, total=len(labels)):
        log.add(messages)
    log.close()


def _store(labels: Sequence[LabelSource], files: Mapping[int, Path], number: int) -> list[str]:
    """Read a label map, and complete it into its file if it has one; return the reader's warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ReaderWarning)
        label_map = read_label_map(labels[number].path, labels[number].naming)
        if number in files:
            with gzip.open(files[number], "wb", compresslevel=1) as file:
                pickle.dump(complete(label_map), file, protocol=pickle.HIGHEST_PROTOCOL)
    return [f"warning: {one.message}" for one in caught if issubclass(one.category, ReaderWarning)]


@lru_cache(maxsize=1)
def _load(file: Path) -> Anatomy:
    with gzip.open(file) as stream:
        anatomy: Anatomy = pickle.load(stream)  # our own
    return anatomy


def _make(job: _Job, size: int, slices: int, seed: int, phase: str | None) -> tuple[_Job, VirtualPatient]:
    patient = make_virtual_patient(_load(job.file), job.index, seed=seed, size=size, slices=slices, phase=phase)
    return job, patient


def _add(dataset: DatasetWriter, job: _Job, made: VirtualPatient) -> None:
    row = {**made.note, "patient": made.patient, "index": job.index, "anatomy": job.anatomy}
    images = {"source": made.nect, "target": made.cect, "aligned_source": made.nect_aligned}
    # the splits are made at the end, so that their order is not that in which processes were done
    contrast = {"phase": row["phase"], "level": row["level"]}
    dataset.add("training", made.patient, made.affine, **images, labels=made.labels, **contrast, note=row)


def _sort_and_report(dataset: DatasetWriter, splits: Mapping[str, Sequence[str]], made: Mapping[str, Any]) -> None:
    """Put the patients into their splits, by number, and write report and contact sheets."""
    rows = {f"{row['index']:06d}": row for row in dataset.finished.values()}
    dataset.resplit({split: [rows[number]["patient"] for number in numbers] for split, numbers in splits.items()})
    split_of = {number: split for split, numbers in splits.items() for number in numbers}
    reported = [{**row, "split": split_of[number]} for number, row in sorted(rows.items())]
    dataset.report({**made, "patients": reported})
    titles = {row["patient"]: f"{row['patient']}, {row['phase']}" for row in reported}
    write_contact_sheets(dataset.volume_paths(), titles, dataset.sheet)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "virtual",
        help="virtual patients from segmented CTs",
        description="Make virtual patients from segmented CTs. --labels may be given several times, with a --naming"
        " each, or with one for all.",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        action="append",
        required=True,
        metavar="PATH",
        help="label maps: NIfTI or NRRD files, or folders with a mask for each structure",
    )
    parser.add_argument(
        "--naming",
        action="append",
        required=True,
        metavar="NAME",
        help=f"what their numbers mean: {', '.join(NAMINGS)}, or a JSON file",
    )
    parser.add_argument(
        "--hold_out",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="those of --labels whose patients are all for test",
    )
    add_output(parser, "of the patients and of the split")
    add_number(parser, "--patients", 24, "how many")
    add_number(parser, "--size", 128, "in-plane size", metavar="PX")
    add_number(parser, "--slices", 32, "per volume")
    parser.add_argument("--phase", choices=tuple(PHASES), help="of the CECT (default: one drawn for each patient)")
    add_fractions(parser)
    add_licence(parser, "label maps")
    add_work(parser)
    parser.set_defaults(run=_run)


def _run(labels: list[list[Path]], naming: list[str], hold_out: list[Path], **given: Any) -> Path:
    sources = list(_sources(labels, naming, hold_out))
    work = {"workers": take_workers(given), "resume": given.pop("resume", "") == "True"}
    return run_resumable(lambda: write_virtual_dataset(labels=sources, **work, **given))


def _sources(
    groups: Sequence[Sequence[Path]], namings: Sequence[str], hold_out: Sequence[Path]
) -> Iterable[LabelSource]:
    if len(namings) not in (1, len(groups)):
        raise InputError(
            f"--naming: expected one for all, or one for each --labels, of which there are {len(groups)}, but got"
            f" {len(namings)}"
        )
    held = {path.resolve() for path in hold_out}
    known = [path.resolve() for group in groups for path in group]
    for path in hold_out:
        if path.resolve() not in known:
            raise InputError(f"--hold_out: {path} is not one of --labels")
    for place, path in enumerate(known):
        if path in known[:place]:
            raise InputError(f"--labels: {path} comes twice")
    for group, naming in zip(groups, list(namings) * (len(groups) // len(namings)), strict=True):
        for path in group:
            yield LabelSource(path, naming, path.resolve() in held)
