"""A data set of pairs from a folder of studies, or from a list of them; see :mod:`data_prep.ct` for its command."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from data_prep.archives import PRESETS, Series, find_patients
from data_prep.contact_sheet import write_contact_sheets
from data_prep.lines import Lines
from data_prep.pair_list import ListedPair, read_pair_list
from data_prep.parallel import in_processes
from data_prep.patient import Job, Outcome, PairSettings, prepare_patient
from data_prep.ranks import Ranks
from monai_nce import __version__
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import REPORT, SPLITS, DatasetWriter
from monai_nce.errors import InputError

__all__ = ["prepare_archive"]


def prepare_archive(
    out_dir: Path,
    *,
    studies: Path | None = None,
    pair_list: Path | None = None,
    preset: str | None = None,
    settings: PairSettings | None = None,
    seed: int = 0,
    workers: int = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Write a data set with one pair for each patient, a report and a contact sheet: all of it, or nothing.

    Where ``torchrun`` started several processes, on one machine or on several that share ``out_dir`` and the input,
    each prepares a part of the patients; rank 0 puts the data set in place once all are done. A patient without a
    usable pair is left out, with a line on stderr and the reason in the report.

    Args:
        out_dir: folder of the data set.
        studies: folder of studies, DICOM or NIfTI, at any depth.
        pair_list: CSV file that names the pairs, by path or by the SeriesInstanceUID of a series below ``studies``.
        preset: the archive that ``studies`` is, see :data:`data_prep.archives.PRESETS`.
        settings: geometry and choice of pairs; the defaults if None.
        seed: seed of the split.
        workers: processes.
        overwrite: replace a data set that is already there, and drop an unfinished run.
        resume: go on with an unfinished run of the same input and settings.
        progress: show a bar.

    Returns:
        ``out_dir``.

    Raises:
        InputError: if the input cannot be used, no patient has a usable pair, or ``out_dir`` cannot take a data set.
        ChildProcessError: if a worker was killed.
    """
    settings = settings or PairSettings()
    ranks = Ranks()
    if ranks.rank:
        _assist(out_dir, settings, workers, ranks)
        return out_dir
    made = {
        "tool": "data_prep ct",
        "version": __version__,
        "paired": True,
        "source": "list" if pair_list else preset or "folder",
        **settings.as_json(),
        "spacing_mm": settings.spacing,
        "seed": seed,
    }
    del made["spacing"]
    with ranks.others_go_on_error():
        jobs = _listed_jobs(pair_list, studies) if pair_list else _found_jobs(studies, preset)
        dataset = DatasetWriter(
            out_dir,
            name=f"CT, paired ({preset})" if preset else "CT, paired",
            description="Non-contrast and contrast-enhanced CT of each patient in the geometry of Seo et al., WACV"
            " 2021.",
            licence=PRESETS[preset].licence if preset else "that of the volumes it was made from",
            provenance=made,
            overwrite=overwrite,
            work=_fingerprint(jobs, made),
            resume=resume,
        )
    with dataset:
        left_out, shown = [], Lines(REPORT)
        todo = ranks.share([job for job in jobs if job.patient not in dataset.finished]) or []
        finished = len(dataset.finished)
        bar = tqdm(total=finished + len(todo), initial=finished, desc="ct", unit="patient", disable=not progress)
        with bar:
            for outcome in in_processes(partial(prepare_patient, settings=settings), todo, workers):
                shown.add(outcome.lines)
                if not _add(dataset, outcome):
                    left_out.append(outcome.row)
                bar.update()
        _, *of_others = ranks.gather(_Share([], []))
        for share in of_others:
            shown.add(share.lines)
            left_out += share.left_out
        shown.close()
        dataset.take_over()
        rows: dict[str, dict[str, Any]] = dataset.finished
        if not rows:
            first = min(left_out, key=lambda row: str(row["patient"]))
            raise InputError(
                f"{studies or pair_list}: of {len(jobs)} patients none has a pair that can be used;"
                f" {first['patient']}: {first['reason']}"
            )
        splits = split_patients(rows, seed=seed)
        dataset.resplit(splits)
        dataset.report(_report(made, jobs, rows, splits, left_out))
        titles = {patient: f"{patient}, {row['cect']['phase']}" for patient, row in rows.items()}
        write_contact_sheets(dataset.volume_paths(), titles, dataset.sheet)
    phases = Counter(row["cect"]["phase"] for row in rows.values())
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    named = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
    print(f"ct: {len(rows)} pairs ({counts}; {named}), {len(left_out)} left out; see {out_dir / REPORT}")
    for split in SPLITS:
        if not splits[split]:
            print(f"notice: too few patients for a {split} split; it is empty", file=sys.stderr)
    return out_dir


class _Share(NamedTuple):
    """What another process has to say to rank 0; its pairs lie in the data set already."""

    lines: list[str]
    left_out: list[dict[str, Any]]


def _assist(out_dir: Path, settings: PairSettings, workers: int, ranks: Ranks) -> None:
    """Prepare what rank 0 gives, into the data set that it has begun and will put in place."""
    todo: list[Job] | None = ranks.share()
    if todo is None:
        return
    dataset = DatasetWriter.join(out_dir)
    share = _Share([], [])
    for outcome in in_processes(partial(prepare_patient, settings=settings), todo, workers):
        share.lines.extend(outcome.lines)
        if not _add(dataset, outcome):
            share.left_out.append(outcome.row)
    ranks.gather(share)


def _add(dataset: DatasetWriter, outcome: Outcome) -> bool:
    """Take a pair into the data set; False if there is none."""
    if outcome.affine is None:
        return False
    # the splits are made at the end, of the patients that are left
    dataset.add(
        "training", outcome.patient, outcome.affine, source=outcome.source, target=outcome.target, note=outcome.row
    )
    return True


def _found_jobs(studies: Path | None, preset: str | None) -> list[Job]:
    if studies is None:
        raise ValueError("expected studies or a list of pairs but got neither")
    patients = find_patients(studies, preset)
    return [Job(_name(index, len(patients)), tuple(series)) for index, series in enumerate(patients)]


def _listed_jobs(path: Path, studies: Path | None) -> list[Job]:
    def job(name: str, listed: Sequence[ListedPair]) -> Job:
        pairs = tuple(row.series for row in listed if row.series is not None)
        series: tuple[Series, ...] = tuple(one for pair in pairs for one in pair)
        return Job(name, series, pairs, next((row.problem for row in listed if row.problem), ""))

    patients = read_pair_list(path, studies)
    return [job(_name(index, len(patients)), rows) for index, rows in enumerate(patients)]


def _name(index: int, count: int) -> str:
    return f"pair_{index:0{max(3, len(str(count - 1)))}d}"


def _fingerprint(jobs: Sequence[Job], made: dict[str, Any]) -> str:
    """A hash of settings and input: of each series' files by size and time, in their order, and its phase."""
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode())
    for job in jobs:
        digest.update(job.patient.encode())
        for series in job.series:
            digest.update(f"{series.phase} {series.evidence}".encode())
            for file in series.volume.files:
                status = file.stat()
                digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _report(
    made: dict[str, Any],
    jobs: Sequence[Job],
    rows: dict[str, dict[str, Any]],
    splits: dict[str, list[str]],
    left_out: list[dict[str, Any]],
) -> dict[str, Any]:
    """The report, by our own numbers."""
    split_of = {patient: split for split, patients in splits.items() for patient in patients}
    series = Counter(one.phase for job in jobs for one in job.series)
    return {
        **made,
        "use": "research only",
        "counts": {
            "patients": len(jobs),
            "pairs": len(rows),
            "left_out": len(left_out),
            "series_by_header": dict(sorted(series.items())),
            "pairs_by_phase": dict(sorted(Counter(row["cect"]["phase"] for row in rows.values()).items())),
            "reasons": dict(sorted(Counter(row["reason"].split(":")[0] for row in left_out).items())),
        },
        "patients": [{**rows[patient], "split": split_of[patient]} for patient in sorted(rows)],
        "left_out": sorted(left_out, key=lambda row: str(row["patient"])),
    }
