"""Tell by headers, names and images which scans are one person's and which cannot be.

De-identification may give one PatientID to everybody, or a new one to each scan, so that it is compared with sex, birth
date and name before it is believed. What is compared stays in memory; messages name files and elements, never values.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import combinations
from operator import and_
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.dataset.writer import SPLITS
from monai_nce.data.nifti.writer import as_int16_hu
from monai_nce.data.scans.formats import volume_stem
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.phase_words import plain_letters, plain_words
from monai_nce.errors import InputError

from .phases import strip_phase

__all__ = [
    "contradictions",
    "image_hash",
    "is_placeholder",
    "pair_up",
    "persons",
    "share_an_id",
    "split_persons",
    "studies_of",
]

PLACEHOLDER = re.compile(
    r"(?:anon[a-z]*|unknown|none|null|nil|na|n a|no ?id|no ?name|deidentified|de identified|removed|redacted|hidden"
    r"|private|dummy|test|patient|subject|default|undefined|x+|0+|)"
)
NO_BIRTH_DATE = ("00010101", "18000101", "19000101", "99991231")
Key = Callable[[FoundVolume], Any]


def is_placeholder(patient_id: str) -> bool:
    """Return whether a PatientID tells nobody apart, such as ``"ANONYMOUS"`` or ``"0000"``; also an empty one."""
    return PLACEHOLDER.fullmatch(plain_words(plain_letters(patient_id))) is not None


def contradictions(one: FoundVolume, other: FoundVolume) -> list[str]:
    """List the elements by which two DICOM series cannot be one person's: both have them, and they differ.

    Names differ where they have no word in common.
    """
    found = []
    ids = [volume.patient_id.strip().casefold() for volume in (one, other)]
    if ids[0] != ids[1] and not any(map(is_placeholder, ids)):
        found.append("PatientID")
    sexes, dates, names = zip(*(_person(volume) for volume in (one, other)), strict=True)
    for keyword, (first, second) in (("PatientSex", sexes), ("PatientBirthDate", dates)):
        if first and second and first != second:
            found.append(keyword)
    return [*found, "PatientName"] if names[0] and names[1] and not names[0] & names[1] else found


def _person(volume: FoundVolume) -> tuple[str, str, frozenset[str]]:
    said = dict(volume.person)
    sex, date = (said.get(keyword, "").strip().upper() for keyword in ("PatientSex", "PatientBirthDate"))
    words = plain_words(plain_letters(said.get("PatientName", "")))
    known = re.fullmatch(r"\d{8}", date) and date not in NO_BIRTH_DATE
    names = frozenset() if is_placeholder(words) else frozenset(words.split())
    return sex if sex in ("M", "F") else "", date if known else "", names


def image_hash(volume: np.ndarray) -> str:
    """Hash the voxels of a volume in HU whose axes are in canonical order: the same image, whatever file it is in."""
    digest = hashlib.sha256(f"{volume.shape}".encode())
    for index in range(volume.shape[2]):  # a slice at a time, for the memory's sake
        digest.update(as_int16_hu(volume[:, :, index : index + 1]).tobytes())
    return digest.hexdigest()


def studies_of(volumes: Iterable[FoundVolume]) -> dict[str, list[FoundVolume]]:
    """Group series by StudyInstanceUID; one without is a study of its own."""
    studies: dict[str, list[FoundVolume]] = defaultdict(list)
    for volume in volumes:
        studies[volume.study_uid or str(volume.files[0])].append(volume)
    return studies


def pair_up(sources: Sequence[FoundVolume], targets: Sequence[FoundVolume]) -> tuple[list[FoundVolume], list[str]]:
    """Find the CECT that belongs to each NECT: by PatientID, by study or by the words and numbers of their names.

    Where none of these names each NECT and each CECT once, the i-th belongs to the i-th.

    Args:
        sources: the NECT.
        targets: as many CECT.

    Returns:
        The CECT in the order of the NECT, and lines that say where their order was not that, and of which pairs nothing
        says that they are one.

    Raises:
        InputError: if headers or names say that a pair is none.
    """
    names = _name_keys(sources, targets)
    keys: tuple[Key, ...] = (_id_key, _study_key, lambda volume: names[id(volume)])
    orders = zip((_matched(sources, targets, key) for key in keys), ("PatientID", "study", "names"), strict=True)
    ordered, by = next(((order, by) for order, by in orders if order), (list(targets), ""))
    elsewhere = {key: [{key(one) for one in side} - {"", ()} for side in (sources, targets)] for key in keys}
    notes = []
    if any(one is not other for one, other in zip(targets, ordered, strict=True)):
        notes.append(f"notice: NECT and CECT are paired by their {by}, not by their order")
    for source, target in zip(sources, ordered, strict=True):
        together = f"{source.path} and {target.path}"
        wrong = ["they differ in " + ", ".join(found)] if (found := contradictions(source, target)) else []
        equal = [key for key in keys if key(source) == key(target) != ""]
        for key, of in ((keys[1], "study"), (keys[2], "names")):
            crossed = key(source) in elsewhere[key][1] or key(target) in elsewhere[key][0]
            if crossed and key not in equal and (of == "study" or not equal):
                wrong.append(f"by their {of} they belong to others")
        if wrong:
            raise InputError(
                f"{together}: expected one patient's NECT and CECT but {wrong[0]}; name both in the same order, or"
                " their pairs in a --csv"
            )
        if not any(key(source) or len(sources) == 1 for key in equal):
            said = "nothing in headers or names says that they are one patient's; taken as given"
            notes.append(f"warning: {together}: {said}")
    return ordered, notes


def _matched(sources: Sequence[FoundVolume], targets: Sequence[FoundVolume], key: Key) -> list[FoundVolume] | None:
    """Order the targets as the sources by a key that each side has once; None if it does not tell."""
    by_key = {key(target): target for target in targets}
    wanted = [key(source) for source in sources]
    if not all(wanted) or len(set(wanted)) < len(sources) or set(by_key) != set(wanted) or len(by_key) < len(targets):
        return None
    return [by_key[one] for one in wanted]


def _id_key(volume: FoundVolume) -> str:
    return "" if is_placeholder(volume.patient_id) else volume.patient_id.strip()


def _study_key(volume: FoundVolume) -> str:
    return volume.study_uid


def _path_key(volume: FoundVolume) -> str:
    return " ".join(sorted(_tokens(volume, whole=True).elements()))


def _name_keys(sources: Sequence[FoundVolume], targets: Sequence[FoundVolume]) -> dict[int, tuple[str, ...]]:
    """Give each volume the words and numbers of its path that tell it from others and that both sides have.

    Of a single pair all words and numbers of the names count, except those for phases.
    """
    sides = [[_tokens(volume, whole=len(sources) > 1) for volume in side] for side in (sources, targets)]
    both = {token for side in sides for one in side for token in one}
    if len(sources) > 1:
        sides = [[one - reduce(and_, side) for one in side] for side in sides]
        both = set.intersection(*({token for one in side for token in one} for side in sides))
    return {
        id(volume): tuple(sorted(token for token in tokens.elements() if token in both))
        for volumes, side in zip((sources, targets), sides, strict=True)
        for volume, tokens in zip(volumes, side, strict=True)
    }


def _tokens(volume: FoundVolume, whole: bool) -> Counter[str]:
    """List words and numbers, numbers without leading zeros, of the whole path or of the name alone."""
    parts = volume.path.parts if whole else volume.path.parts[-1:]
    words = [word for name in (*parts[:-1], volume_stem(parts[-1])) for word in strip_phase(name).split()]
    matches = ((word, re.fullmatch(r"([a-z]*)(\d*)([a-z]*)", word)) for word in words)  # p07, but no hashes
    pieces = [piece for word, match in matches for piece in (match.groups() if match else (word,)) if piece]
    return Counter(piece.lstrip("0") or "0" for piece in pieces)


def persons(
    volumes: Mapping[str, Sequence[FoundVolume]], images: Mapping[str, Iterable[str]] | None = None
) -> dict[str, str]:
    """Find which of our patients are one person: by PatientID, by study, by path, or since they share an image.

    Paths of files that are no DICOM are compared without the words that name a phase, as in an archive.

    Args:
        volumes: series of each patient.
        images: hashes of each patient's images.

    Returns:
        For each patient the first one that is the same person.
    """
    groups = DisjointSet(volumes)
    seen: dict[tuple[str, str], list[tuple[str, FoundVolume | None]]] = defaultdict(list)
    for patient, found in volumes.items():
        known = [(("id", _id_key(volume)), volume) for volume in found]
        known += [(("study", volume.study_uid), volume) for volume in found]
        known += [(("name", _path_key(volume)), volume) for volume in found if volume.kind != "dicom"]
        for key, volume in (*known, *((("image", image), None) for image in (images or {}).get(patient, ()))):
            if not key[1]:
                continue
            for other, before in seen[key]:
                if volume is None or before is None or not contradictions(volume, before):
                    groups.merge(other, patient)
                    break
            else:
                seen[key].append((patient, volume))
    order = {patient: place for place, patient in enumerate(volumes)}
    return {patient: min(groups.subset(patient), key=order.__getitem__) for patient in volumes}


def split_persons(
    person_of: Mapping[str, str],
    validation: float,
    test: float,
    seed: int,
    kind_of: Callable[[str], str] = lambda patient: "",
) -> dict[str, list[str]]:
    """Split patients as :func:`~monai_nce.data.split_patients` does, but all that is one person's into one split.

    Args:
        person_of: as :func:`persons` gives it.
        validation: share of the persons for validation.
        test: share of the persons for test.
        seed: another seed gives another split.
        kind_of: kind of a patient; persons with patients of the same kinds are split by themselves.

    Returns:
        The patients of each split, in the order given.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    for patient, person in person_of.items():
        kinds[person].add(kind_of(patient))
    alike: dict[frozenset[str], list[str]] = defaultdict(list)
    for person, own in kinds.items():
        alike[frozenset(own)].append(person)
    split_of = {
        person: split
        for people in alike.values()
        for split, members in split_patients(people, validation, test, seed).items()
        for person in members
    }
    return {split: [one for one, person in person_of.items() if split_of[person] == split] for split in SPLITS}


def share_an_id(patient_id: str, volumes: Sequence[FoundVolume], only: bool) -> bool:
    """Decide whether the studies of one PatientID are several people's, as far as that can be told.

    They are where they contradict each other, where the PatientID is a placeholder and there are more series than a
    pair, and, if it is the ``only`` one of an archive, where several studies could each hold a pair.
    """
    studies = list(studies_of(volumes).values())
    if len(studies) < 2:
        return False
    if is_placeholder(patient_id) and len(volumes) > 2:
        return True
    people = {_person(study[0]): study[0] for study in studies}
    if any(contradictions(one, other) for one, other in combinations(people.values(), 2)):
        return True
    return only and sum(len(study) > 1 for study in studies) > 1
