"""Find the volumes below a path, for preparation, inference and inspection."""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from os import path as os_path
from pathlib import Path
from typing import Any

from monai_nce.data.dicom.calculated import calculation
from monai_nce.data.dicom.files import DicomFile, looks_like_slice, scan_file
from monai_nce.data.dicom.text import clean_text, patient_words
from monai_nce.data.scans.contrast_tags import contrast_elements
from monai_nce.data.scans.file_tree import ReaderWarning, files_by_folder
from monai_nce.data.scans.foreign import PACKED_SLICE, Foreign, recognise
from monai_nce.data.scans.formats import data_file, is_label_map, is_volume_name, kind_of

__all__ = ["FoundVolume", "find_images", "group_dicom"]

MAX_COMMENTS = 512
OTHER = "other"
LEFT_OUT = {  # kinds of files, in words
    OTHER: "no images",
    "localizer": "localizers",
    "capture": "pictures without a place, such as a dose report",
}
PERSON = ("PatientName", "PatientSex", "PatientBirthDate")


@dataclass(frozen=True)
class FoundVolume:
    """Hold a NIfTI, MetaImage or NRRD file, or the files of one DICOM series; nothing of it is accepted yet.

    What its representation leaves out may be a patient's data: to group and pair by, never to be printed or written.
    From the description name, identifier and birth date are struck out.

    Attributes:
        kind: ``"dicom"``, ``"nifti"``, ``"metaimage"`` or ``"nrrd"``; ``"memory"`` of a volume that a program gave.
        path: the file, if it is none of DICOM or was named itself; else the folder that holds the series.
        files: what :func:`monai_nce.data.read_ct` takes for this volume alone, sorted by name; for DICOM with the
            damaged files that may belong to it, because of which it is refused.
        modality: such as ``"CT"``; empty but for DICOM, and where it is not given.
        description: SeriesDescription; empty but for DICOM.
        series_number: SeriesNumber.
        damaged: whether it is a damaged file that belongs to no series, and can only be refused.
        alone: whether nothing else was found at or below ``path``, so that ``path`` means this volume.
        series_uid: SeriesInstanceUID; empty if there is none, and the folder made the series.
        study_uid: StudyInstanceUID.
        patient_id: PatientID.
        person: PatientName, PatientSex and PatientBirthDate, those that are not empty, by keyword.
        contrast: ContrastBolus elements that are not empty, by keyword; coded agents and routes as such.
        texts: ProtocolName and StudyDescription, cleaned as the description is.
        comments: ImageComments of one slice, cleaned likewise.
        calculated: what shows that it was calculated from scans, such as a projection; empty for a CT as acquired.
        acquisition_time: AcquisitionDate and AcquisitionTime of one slice, ``YYYYMMDDHHMMSS.ffffff``; may be empty.
    """

    kind: str
    path: Path
    files: tuple[Path, ...] = field(repr=False)
    modality: str = ""
    description: str = ""
    series_number: int | None = None
    damaged: bool = False
    alone: bool = True
    series_uid: str = field(default="", repr=False)
    study_uid: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    person: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    contrast: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    texts: tuple[str, ...] = field(default=(), repr=False)
    comments: str = field(default="", repr=False)
    calculated: str = ""
    acquisition_time: str = field(default="", repr=False)


def find_images(path: str | PathLike[str]) -> list[FoundVolume]:
    """List every volume at or below a path, reading each DICOM header once.

    DICOM files are grouped by SeriesInstanceUID, wherever they lie, and without one by folder. Localizers, pictures
    without a place, such as a dose report, files that are no images, and label maps as MetaImage or NRRD beside
    something else are left out with a :class:`~.ReaderWarning`. A damaged DICOM file goes to the series that its header
    names, else to each series with files in its folder, and has them refused when they are read; where there is none it
    is listed as a volume of its own.

    Args:
        path: a file, or a folder, which is walked whole; see :func:`~monai_nce.data.scans.file_tree.files_by_folder`. A
            DICOMDIR stands for its folder.

    Returns:
        The volumes, sorted by path, series number and UID; none if nothing is there. Any modality, and not checked:
        :func:`monai_nce.data.read_ct` accepts or refuses.

    Raises:
        InputError: if the path does not exist, or there are DICOM files and pydicom is missing.
    """
    path = Path(path)
    if path.name.upper() == "DICOMDIR" and path.is_file():
        path = path.parent
    named = path if path.is_file() else None
    single: list[FoundVolume] = []
    grouping = _Grouping()
    for folder, files in files_by_folder(path):
        volume_files = [file for file in files if is_volume_name(file)]
        single += [FoundVolume(kind_of(file), file, (file,)) for file in volume_files]
        own = {*volume_files, *map(data_file, volume_files)}
        grouping.add(folder, [file for file in files if file not in own])
    grouping.warn(path)
    volumes = _without_label_maps(path, [*single, *grouping.volumes(named)])
    volumes.sort(key=lambda volume: (str(volume.path), volume.series_number or 0, volume.series_uid))
    return _mark_alone(volumes)


def group_dicom(files: Iterable[Path]) -> list[FoundVolume]:
    """Group named DICOM files as :func:`find_images` does; one that is none counts as damaged."""
    grouping = _Grouping(strict=True)
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    for folder, members in folders.items():
        grouping.add(folder, members)
    return grouping.volumes()


class _Grouping:
    """Group files into series; of each series' headers only the first is kept."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self.files: dict[tuple[str, str], list[Path]] = defaultdict(list)
        self.first: dict[tuple[str, str], Any] = {}
        self.damaged: list[tuple[Path, str, set[tuple[str, str]]]] = []
        self.foreign: dict[Foreign, list[Path]] = defaultdict(list)
        self.left_out: Counter[str] = Counter()  # of the kinds of LEFT_OUT
        self.seen = 0

    def add(self, folder: Path, files: Sequence[Path]) -> None:
        """Take in the files of one folder."""
        here: set[tuple[str, str]] = set()  # its series
        names: list[str] = []
        strangers = []
        for path in files:
            if path.name.upper() == "DICOMDIR":  # an index, which we do not need, so that it may be wrong
                continue
            self.seen += 1
            scanned = scan_file(path)
            if scanned is None:
                strangers.append(path)
                continue
            names.append(path.name)
            if scanned.kind == "image":
                key = (_uid(scanned), "") if _uid(scanned) else ("", str(folder))
                self.files[key].append(path)
                self.first.setdefault(key, scanned.header)
                here.add(key)
            elif scanned.kind == "broken":
                self.damaged.append((path, _uid(scanned), here))
            else:
                self.left_out[scanned.kind if scanned.kind in LEFT_OUT else OTHER] += 1
        for path in strangers:
            foreign = recognise(path)
            is_packed_slice = bool(here) and foreign is not None and foreign.what == PACKED_SLICE
            if self.strict or is_packed_slice or looks_like_slice(path, names):
                self.damaged.append((path, "", here))
                continue
            self.left_out[OTHER] += 1
            if foreign is not None and foreign.scan:
                self.foreign[foreign].append(path)

    def warn(self, path: Path) -> None:
        """Warn of what was left out."""
        for foreign, files in self.foreign.items():
            if files == [path]:
                continue  # the error says it
            text = f"{path}: left out {len(files)} files, such as {files[0].name}: it is {foreign}"
            warnings.warn(text, ReaderWarning, stacklevel=3)
        for kind, words in LEFT_OUT.items():
            if count := self.left_out[kind]:
                text = f"{path}: {count} of {self.seen} files are {words}; left out"
                warnings.warn(text, ReaderWarning, stacklevel=3)

    def volumes(self, named: Path | None = None) -> list[FoundVolume]:
        """List one volume per series; ``named`` is the file that was asked for, if it was one."""
        found = []
        for path, uid, here in self.damaged:
            # a UID that was cut itself is no series' own
            keys = [(uid, "")] if (uid, "") in self.first else here
            for key in keys:
                self.files[key].append(path)
            if not keys:
                found.append(FoundVolume("dicom", named or path.parent, (path,), damaged=True))
        for key, files in self.files.items():
            folder = Path(os_path.commonpath([file.parent for file in files]))
            found.append(_describe(named or folder, tuple(sorted(set(files))), self.first[key]))
        return found


def _describe(path: Path, files: tuple[Path, ...], header: Any) -> FoundVolume:
    secrets = patient_words(header)
    number = str(header.get("SeriesNumber") or "")
    return FoundVolume(
        kind="dicom",
        path=path,
        files=files,
        modality=clean_text(header.get("Modality"), secrets),
        description=clean_text(header.get("SeriesDescription"), secrets),
        series_number=int(number) if re.fullmatch(r"\d{1,9}", number) else None,
        series_uid=str(header.get("SeriesInstanceUID") or ""),
        study_uid=str(header.get("StudyInstanceUID") or ""),
        patient_id=str(header.get("PatientID") or ""),
        person=tuple((word, str(header[word].value)) for word in PERSON if header.get(word)),
        contrast=contrast_elements(header),
        texts=tuple(clean_text(header.get(keyword), secrets) for keyword in ("ProtocolName", "StudyDescription")),
        comments=clean_text(header.get("ImageComments"), secrets, MAX_COMMENTS),
        calculated=calculation(header),
        acquisition_time=f"{header.get('AcquisitionDate') or ''}{header.get('AcquisitionTime') or ''}",
    )


def _without_label_maps(path: Path, volumes: list[FoundVolume]) -> list[FoundVolume]:
    """Leave MetaImage and NRRD files of labels out, unless there is nothing else."""
    scans = [volume for volume in volumes if not is_label_map(volume.path)]
    if not scans or len(scans) == len(volumes):
        return volumes
    text = f"{path}: {len(volumes) - len(scans)} MetaImage or NRRD files are label maps; left out"
    warnings.warn(text, ReaderWarning, stacklevel=3)
    return scans


def _mark_alone(volumes: list[FoundVolume]) -> list[FoundVolume]:
    """Mark the volumes that do not share their path, or a folder below it, with another one."""
    at: dict[Path, int] = defaultdict(int)
    for volume in volumes:
        for folder in {parent for file in volume.files for parent in (file, *file.parents)}:
            at[folder] += 1
    return [replace(volume, alone=at[volume.path] == 1) for volume in volumes]


def _uid(scanned: DicomFile) -> str:
    return str((scanned.header.get("SeriesInstanceUID") if scanned.header is not None else "") or "")
