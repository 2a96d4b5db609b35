"""Find patients and phases in a folder of CT, by an archive's table or general patterns, or in a list of pairs.

A list is a CSV file with the columns ``patient``, ``nect``, ``cect`` and, if wanted, ``phase``. A cell of ``nect`` or
``cect`` is a path, relative to the file, or the SeriesInstanceUID of a series below a folder of studies.

PatientIDs, files' names and the column ``patient`` stay in memory; nothing here prints or writes them.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.foreign import first_advice
from monai_nce.data.scans.formats import volume_stem
from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.phase import CECT, NECT, UNKNOWN
from monai_nce.data.scans.reader import NOTHING, find_volumes
from monai_nce.errors import InputError

from .persons import share_an_id, studies_of
from .phases import ENHANCED, OTHER, name_phase, phase_of, strip_phase

__all__ = ["PRESETS", "ListedPair", "Preset", "Series", "find_patients", "read_pair_list"]


@dataclass(frozen=True)
class Preset:
    """One archive's names of phases and patients. Patterns match the whole text, in any case."""

    where: str  # what names the phase: "description" of the series, "labels" in a CSV file, "name" of a file, "folder"
    phases: Mapping[str, str]  # pattern and phase; a series that none matches is left alone
    licence: str
    patient: str = ""  # for "name": the pattern with the groups patient and phase


PRESETS: Mapping[str, Preset] = {
    "c4kc-kits": Preset(  # TCIA, doi:10.7937/TCIA.2019.IX49E8NX
        "description", {"noncontrast": "nect", "arterial": "arterial", "late": "late"}, "CC BY 3.0 (C4KC-KiTS)"
    ),
    "hcc-tace-seg": Preset(  # TCIA, doi:10.7937/TCIA.5FNA-0924
        "description",
        # the phases of the second stand in one series, which the reader refuses where they overlap
        {r"pre liver.*": "nect", r"(recon \d+: )?liver (3|three) phase.*": "cect"},
        "CC BY 4.0 (HCC-TACE-Seg)",
    ),
    "vindr-multiphase": Preset(
        "labels",
        {r"non-?contrast": "nect", r"ar?terial": "arterial", "venous": "portal", "other": OTHER},
        "PhysioNet Credentialed Health Data License (VinDr-Multiphase)",
    ),
    "waw-tace": Preset(  # Zenodo
        "name",
        {"0": "nect", "1": "arterial", "2": "portal", "3": "late"},
        "that of WAW-TACE",
        patient=r"(?P<patient>.+)_(?P<phase>[0-3])\.nii(\.gz)?",
    ),
    "coltea-lung": Preset(  # Ristea et al., CyTran, Neurocomputing 2023
        "folder",
        {r"nativ[ea]?": "nect", r"arteriala?": "arterial", r"venous|venoasa": "portal"},
        "CC BY-SA 4.0 (Coltea-Lung-CT-100W)",
    ),
}
LABELS = "labels.csv"
SERIES_COLUMN, LABEL_COLUMN = "SeriesInstanceUID", "Label"
COLUMNS = ("patient", "nect", "cect")


@dataclass(frozen=True)
class Series:
    """A volume and its phase."""

    volume: FoundVolume = field(repr=False)
    phase: str  # as of data_prep.phases.name_phase
    evidence: str  # what showed it: "preset", "description", "tags", "name", "csv", "image", or nothing


@dataclass(frozen=True)
class ListedPair:
    """A row of the list: its NECT and CECT, or the problem with one of them, which may name a file."""

    series: tuple[Series, Series] | None
    problem: str = ""


def find_patients(root: Path, preset: str | None = None) -> list[list[Series]]:
    """List the CT series below a folder, patient by patient.

    DICOM patients are told apart by PatientID, or by study where there is none or it is several people's; NIfTI files
    by what is left of their path without words for phases. Patients come in the order of these keys, which say who they
    are and are dropped here. An archive's table decides alone; without a preset, general patterns do.

    Raises:
        InputError: if there is no CT, or the archive is not of the preset's form.
    """
    found = [item for item in find_images(root) if item.kind != "dicom" or item.modality == "CT" or item.damaged]
    if not found:
        raise InputError(f"{root}: expected CT series or files but holds {NOTHING}{first_advice(root)}")
    patients: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    table = PRESETS[preset] if preset else None
    labels = _labels(root) if table is not None and table.where == "labels" else {}
    for volume in found:
        series, key = _general(root, volume) if table is None else _by_preset(root, volume, table, labels)
        patients[key].append(series)
    if table is not None and not any(series.evidence for group in patients.values() for series in group):
        raise InputError(f"{root}: no series is named as in {preset}; without --preset, general patterns are tried")
    return [group for key in sorted(patients) for group in _people(key, patients[key], _only_id(patients))]


def _only_id(patients: Mapping[tuple[str, ...], object]) -> bool:
    return len([key for key in patients if key[0] == "id"]) == 1


def _people(key: tuple[str, ...], series: list[Series], only: bool) -> list[list[Series]]:
    """Split the series of one PatientID by study where they are several people's."""
    volumes = [one.volume for one in series]
    if key[0] != "id" or not share_an_id(key[1], volumes, only):
        return [series]
    study_of = {id(volume): study for study, members in studies_of(volumes).items() for volume in members}
    studies: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        studies[study_of[id(one.volume)]].append(one)
    text = f"{len(studies)} studies have one PatientID that seems to be several people's; each counts as a patient"
    warnings.warn(text, ReaderWarning, stacklevel=3)
    return list(studies.values())


def _general(root: Path, volume: FoundVolume) -> tuple[Series, tuple[str, ...]]:
    if volume.kind == "dicom":
        return Series(volume, *phase_of(volume)), _dicom_key(volume)
    inside = volume.path.is_relative_to(root) and volume.path != root
    relative = list(volume.path.relative_to(root).parts) if inside else [volume.path.name]
    relative[-1] = volume_stem(relative[-1])
    named = (name_phase(part.replace("_", " ")) for part in reversed(relative))
    phase = next((phase for phase in named if phase != UNKNOWN), UNKNOWN)
    rest = tuple(part for part in map(strip_phase, relative) if part)
    return Series(volume, phase, "name" if phase != UNKNOWN else ""), ("file", *rest)


def _by_preset(
    root: Path, volume: FoundVolume, preset: Preset, labels: Mapping[str, str]
) -> tuple[Series, tuple[str, ...]]:
    """Find the phase of a series, and the key of its patient, by an archive's table."""
    text, key = "", _dicom_key(volume)
    if preset.where == "description":
        text = " ".join(volume.description.split())
    elif preset.where == "labels":
        text = labels.get(volume.series_uid, "")
    elif preset.where == "name":
        match = re.fullmatch(preset.patient, volume.path.name, re.IGNORECASE)
        text, key = (match["phase"], ("nifti", match["patient"])) if match else ("", ("nifti", volume.path.name))
    else:
        parts = volume.path.relative_to(root).parts if volume.path.is_relative_to(root) else ()
        at = next((i for i, part in reversed(list(enumerate(parts))) if _match(preset, part) != UNKNOWN), None)
        if at is not None:
            text, key = parts[at], ("folder", *parts[:at])
    phase = _match(preset, text)
    return (Series(volume, phase, "preset") if phase != UNKNOWN else Series(volume, OTHER, "")), key


def _match(preset: Preset, text: str) -> str:
    named = (phase for pattern, phase in preset.phases.items() if re.fullmatch(pattern, text.strip(), re.IGNORECASE))
    return next(named, UNKNOWN)


def _labels(root: Path) -> dict[str, str]:
    """Read the archive's own table of phases by SeriesInstanceUID."""
    if not (root / LABELS).is_file():
        raise InputError(f"{root / LABELS}: missing; it names this archive's phases")
    rows = _read_csv(root / LABELS, (SERIES_COLUMN, LABEL_COLUMN))
    return {row[SERIES_COLUMN]: row[LABEL_COLUMN] for row in rows}


def _read_csv(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[dict[str, str]]:
    """Read the cells of each row by column, whose names may come in any case and order."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        delimiter = ";" if lines and lines[0].count(";") > lines[0].count(",") else ","
        rows = csv.DictReader(lines, delimiter=delimiter)
        names = {name.lower(): name for name in (*columns, *optional)}
        rows.fieldnames = [names.get(name.strip().lower(), name) for name in rows.fieldnames or ()]
        if missing := [name for name in columns if name not in rows.fieldnames]:
            raise InputError(f"{path}: expected the columns {', '.join(columns)} but has no {' and '.join(missing)}")
        return [{name: (row.get(name) or "").strip() for name in names.values()} for row in rows]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (UnicodeDecodeError, IsADirectoryError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV file") from error


def _dicom_key(volume: FoundVolume) -> tuple[str, ...]:
    if volume.patient_id.strip():
        return "id", volume.patient_id.strip()
    # without either, a series is a patient of its own, and stays without a partner
    return "study", volume.study_uid or str(volume.files[0])


def read_pair_list(path: Path, studies: Path | None = None) -> list[list[ListedPair]]:
    """Read a UTF-8 list with commas or semicolons: the rows of each patient, their volumes looked up by path or UID.

    Raises:
        InputError: if the file cannot be read, or a column, a row or a cell's content is missing.
    """
    rows = _read_csv(path, COLUMNS, ["phase"])
    by_uid = {volume.series_uid: volume for volume in find_images(studies) if volume.series_uid} if studies else {}
    patients: dict[str, list[ListedPair]] = defaultdict(list)
    for number, cells in enumerate(rows, start=2):
        if not any(cells.values()):
            continue
        if empty := [name for name in COLUMNS if not cells[name]]:
            raise InputError(f"{path}: row {number} has no {' and no '.join(empty)}")
        if cells["phase"] and cells["phase"] not in ENHANCED:
            raise InputError(f"{path}: row {number}: expected as phase {', '.join(ENHANCED)}, or nothing")
        patients[cells["patient"]].append(_pair(path, number, cells, by_uid))
    if not patients:
        raise InputError(f"{path}: holds no row below its header")
    return [patients[patient] for patient in sorted(patients)]


def _pair(path: Path, row: int, cells: dict[str, str], by_uid: dict[str, FoundVolume]) -> ListedPair:
    found: list[FoundVolume] = []
    for name in (NECT, CECT):
        try:
            found.append(by_uid.get(cells[name]) or _one(path.parent / cells[name]))
        except InputError as error:
            return ListedPair(None, f"row {row}: {name}: {error}")
    return ListedPair((Series(found[0], NECT, "csv"), Series(found[1], cells["phase"] or CECT, "csv")))


def _one(path: Path) -> FoundVolume:
    volumes = find_volumes(path)
    if len(volumes) > 1:
        raise InputError(f"{path}: expected one volume but found {len(volumes)}")
    return volumes[0]
