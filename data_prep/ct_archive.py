"""Make a data set of pairs from a folder of studies, or from a list; :mod:`data_prep.ct` has the command."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from monai_nce import __version__
from monai_nce.data.dataset.writer import REPORT, SPLITS, DatasetWriter, VolumeWriter
from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError

from .archives import PRESETS, find_patients, read_pair_list
from .contact_sheet import write_contact_sheets
from .messages import MessageLog, progress_bar, say, warn_of_empty_splits
from .parallel import gather, in_processes, others_end_on_error, share
from .patient import Job, Outcome, PairSettings, prepare_patient
from .persons import persons, split_persons
from .phases import CONTRAST_PHASES

__all__ = ["prepare_archive"]

Prepare = Callable[[Job], Outcome]
Row = dict[str, Any]  # of a report
LeftOut = tuple[list[Row], list[str]]  # patients, and messages


def prepare_archive(
    out_dir: Path,
    *,
    studies: Path | None = None,
    pair_list: Path | None = None,
    preset: str | None = None,
    settings: PairSettings | None = None,
    validation_fraction: float = 0.125,
    test_fraction: float = 0.25,
    licence: str = "",
    seed: int = 0,
    workers: int | str = 1,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Write a data set with one pair for each patient, a report and a contact sheet: all of it, or nothing.

    Arguments are the options of ``data_prep ct``, with ``pair_list`` for ``--csv``; returns ``out_dir``. Where
    ``torchrun`` started several processes, on one machine or on several that share ``out_dir`` and the input, each
    prepares a part of the patients; rank 0 puts the data set in place once all are done. A patient without a usable
    pair is left out, with a line on stderr and the reason in the report.

    Raises:
        InputError: if the input cannot be used, no patient has a usable pair, or ``out_dir`` cannot take a data set.
        ChildProcessError: if a worker was killed.
    """
    settings = settings or PairSettings()
    prepare = partial(prepare_patient, settings=settings)
    if not is_main_process():
        part: list[Job] | None = share()
        if part is not None:
            gather(_add_patients(DatasetWriter.join(out_dir), part, prepare, workers, None, False))
        return out_dir
    tool = {"tool": "data_prep ct", "version": __version__, "paired": True}
    source = "list" if pair_list else preset or "folder"
    shares = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    made = {**tool, "source": source, **settings.as_json(), **shares, "seed": seed}
    with others_end_on_error():
        jobs = _jobs(studies, pair_list, preset)
        dataset = DatasetWriter(
            out_dir,
            name=f"CT, paired ({preset})" if preset else "CT, paired",
            description="Non-contrast and contrast-enhanced CT of each patient in the geometry of Seo et al., WACV"
            " 2021.",
            licence=licence or (PRESETS[preset].licence if preset else "that of the volumes it was made from"),
            kind="real",
            provenance=made,
            overwrite=overwrite,
            work=_fingerprint(jobs, made),
            resume=resume,
        )
    with dataset:
        log = MessageLog(REPORT)
        todo = share([job for job in jobs if job.patient not in dataset.finished]) or []
        left_out, _ = _add_patients(dataset, todo, prepare, workers, log, progress)
        nothing: LeftOut = [], []
        for more, messages in gather(nothing):  # the others' pairs lie in the data set already
            log.add(messages)
            left_out += more
        log.close()
        dataset.take_over()
        rows: dict[str, Row] = dataset.finished
        if not rows:
            first = min(left_out, key=lambda row: str(row["patient"]))
            raise InputError(
                f"{studies or pair_list}: of {len(jobs)} patients none has a pair that can be used;"
                f" {first['patient']}: {first['reason']}"
            )
        volumes = {job.patient: [one.volume for one in job.series] for job in jobs if job.patient in rows}
        same = persons(volumes, {patient: row["image_sha256"] for patient, row in rows.items()})
        splits = split_persons(same, validation_fraction, test_fraction, seed)
        dataset.resplit(splits)
        dataset.report(_report(made, jobs, rows, splits, left_out))
        titles = {patient: f"{patient}, {row['cect']['phase']}" for patient, row in rows.items()}
        write_contact_sheets(dataset.volume_paths(), titles, dataset.sheet)
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    phases = Counter(row["cect"]["phase"] for row in rows.values())
    named = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
    spare = sum(row["studies_not_used"] for row in rows.values())
    unused = f", {spare} other {'study' if spare == 1 else 'studies'} of these patients not used" if spare else ""
    print(f"ct: {len(rows)} pairs ({counts}; {named}), {len(left_out)} left out{unused}; see {out_dir / REPORT}")
    if twice := len(same) - len(set(same.values())):
        text = f"{twice} of {len(same)} pairs are of persons that come twice, by PatientID, study or the same image"
        say(f"notice: {text}: each person is kept in one split")
    warn_of_empty_splits(splits, [split for split in SPLITS if shares.get(f"{split}_fraction", 1)])
    return out_dir


def _add_patients(
    dataset: VolumeWriter, jobs: list[Job], prepare: Prepare, workers: int | str, log: MessageLog | None, progress: bool
) -> LeftOut:
    """Prepare patients into a data set; the report on those left out, and the messages where there is no log."""
    messages: list[str] = []
    left_out = []
    done = len(dataset.finished) if isinstance(dataset, DatasetWriter) else 0
    outcomes = in_processes(prepare, jobs, workers)
    for outcome in progress_bar(outcomes, "ct", "patient", progress, total=done + len(jobs), initial=done):
        (log.add if log else messages.extend)(outcome.messages)
        if outcome.affine is None:
            left_out.append(outcome.report)
            continue
        volumes = {"source": outcome.source, "target": outcome.target}
        phase = CONTRAST_PHASES.get(outcome.report["cect"]["phase"])
        # the splits are made at the end, of the patients that are left
        dataset.add("training", outcome.patient, outcome.affine, **volumes, phase=phase, note=outcome.report)
    return left_out, messages


def _jobs(studies: Path | None, pair_list: Path | None, preset: str | None) -> list[Job]:
    if pair_list:
        patients = []
        for rows in read_pair_list(pair_list, studies):
            pairs = tuple(row.series for row in rows if row.series is not None)
            problem = next((row.problem for row in rows if row.problem), "")
            patients.append(Job("", tuple(chain(*pairs)), pairs, problem))
    elif studies:
        patients = [Job("", tuple(series)) for series in find_patients(studies, preset)]
    else:
        raise ValueError("expected studies or a list of pairs but got neither")
    digits = max(3, len(str(len(patients) - 1)))
    return [replace(job, patient=f"pair_{index:0{digits}d}") for index, job in enumerate(patients)]


def _fingerprint(jobs: Sequence[Job], made: dict[str, Any]) -> str:
    """Hash settings and input: of each series its phase, and its files by size and time, in their order."""
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode())
    for job in jobs:
        digest.update(job.patient.encode())
        for series in job.series:
            digest.update(f"{series.phase} {series.evidence}".encode())
            for file in series.volume.files:
                status = file.stat()
                digest.update(f"{file} {status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _report(made: Row, jobs: list[Job], rows: dict[str, Row], splits: dict[str, list[str]], left_out: list[Row]) -> Row:
    """Compose the report, by our own numbers."""
    split_of = {patient: split for split, patients in splits.items() for patient in patients}
    counters = {
        "series_by_header": Counter(one.phase for job in jobs for one in job.series),
        "pairs_by_phase": Counter(row["cect"]["phase"] for row in rows.values()),
        "reasons": Counter(row["reason"].split(":")[0] for row in left_out),
    }
    sums = {
        "patients": len(jobs),
        "pairs": len(rows),
        "left_out": len(left_out),
        "studies_not_used": sum(row["studies_not_used"] for row in rows.values()),
    }
    return {
        **made,
        "use": "research only",
        "counts": {**sums, **{name: dict(sorted(counter.items())) for name, counter in counters.items()}},
        "patients": [{**rows[patient], "split": split_of[patient]} for patient in sorted(rows)],
        "left_out": sorted(left_out, key=lambda row: str(row["patient"])),
    }
