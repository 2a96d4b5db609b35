from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.persons import (
    contradictions,
    image_hash,
    is_placeholder,
    pair_up,
    persons,
    share_an_id,
    split_persons,
)
from monai_nce.data.dataset.splits import split_patients
from monai_nce.data.scans.found import FoundVolume
from monai_nce.errors import InputError


def series(path: str = "a", patient: str = "", study: str = "", kind: str = "dicom", **person: str) -> FoundVolume:
    about: dict[str, Any] = {"patient_id": patient, "study_uid": study, "person": tuple(person.items())}
    return FoundVolume(kind, Path(path), (Path(path) / "1.dcm",), "CT", **about)


def niftis(*paths: str) -> list[FoundVolume]:
    return [series(path, kind="nifti") for path in paths]


def paths(volumes: list[FoundVolume]) -> list[str]:
    return [str(volume.path) for volume in volumes]


@pytest.mark.parametrize(
    "text", ["", "ANONYMOUS", "Anonymized", "anon", "0", "00000", "XXXX", "unknown", "N/A", "No ID", "-"]
)
def test_what_tells_nobody_apart(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["ANON01", "1", "A056642", "KiTS-00001", "patient 7", "0012"])
def test_what_tells_somebody(text: str) -> None:
    assert not is_placeholder(text)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ({"patient": "A"}, {"patient": "B"}, ["PatientID"]),
        ({"patient": "A"}, {"patient": " a "}, []),
        ({"patient": "A"}, {"patient": "ANONYMOUS"}, []),
        ({"PatientSex": "F"}, {"PatientSex": "M"}, ["PatientSex"]),
        ({"PatientSex": "F"}, {"PatientSex": "O"}, []),
        ({"PatientSex": "F"}, {}, []),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19900101"}, ["PatientBirthDate"]),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19000101"}, []),  # put in place of a date
        ({"PatientName": "Doe^Jane"}, {"PatientName": "Doe^John"}, []),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "Roe^Mary"}, ["PatientName"]),
        ({"PatientName": "Doe^Jane"}, {"PatientName": "Anonymous"}, []),
        ({"study": "1"}, {"study": "2"}, []),
    ],
)
def test_contradictions(one: dict[str, str], other: dict[str, str], found: list[str]) -> None:
    assert contradictions(series(**one), series(**other)) == contradictions(series(**other), series(**one)) == found


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6, unique=True), st.sampled_from(["", "p", "case_", "s/"]))
@settings(max_examples=15)
def test_numbers_in_names_pair_up_whatever_their_order(numbers: list[int], word: str) -> None:
    """As with 1, 2, 10 and 01, 02, 10, which sort differently; folders and other constant words do not matter."""
    sources = niftis(*sorted(f"nect/{word}{number}_nativ.nii.gz" for number in numbers))
    targets = niftis(*sorted(f"x/{number:08d}/portal {word}.nii" for number in numbers))
    ordered, doubts = pair_up(sources, targets)
    moved = [one is not other for one, other in zip(targets, ordered, strict=True)]
    assert doubts == ["notice: NECT and CECT are paired by their names, not by their order"] * any(moved)
    for source, target in zip(sources, ordered, strict=True):
        one, other = (max(map(int, re.findall(r"\d+", str(volume.path)))) for volume in (source, target))
        assert one == other


@given(st.integers(2, 9), st.sampled_from(["id", "study"]), st.randoms())
@settings(max_examples=15)
def test_headers_pair_up_whatever_the_order(count: int, by: str, rng: random.Random) -> None:
    def side(phase: str) -> list[FoundVolume]:
        made = [
            series(f"{phase}{i}", f"P{i}" if by == "id" else "ANONYMOUS", f"{phase if by == 'id' else ''}{i}")
            for i in range(count)
        ]
        rng.shuffle(made)
        return made

    named = "PatientID" if by == "id" else "study"
    sources, targets = side("n"), side("c")
    ordered, doubts = pair_up(sources, targets)
    assert len(doubts) < 2 and all(f"by their {named}," in doubt for doubt in doubts)
    assert [path[1:] for path in paths(ordered)] == [path[1:] for path in paths(sources)]


def test_explicit_orders_of_repeated_scans_stay() -> None:
    sources = niftis("n/1.nii", "n/1.nii", "n/2.nii", "n/2.nii")
    targets = niftis("c/1_art.nii", "c/1_portal.nii", "c/2_art.nii", "c/2_portal.nii")
    assert pair_up(sources, targets) == (targets, [])


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        (series("n", "P1"), series("c", "P2"), "they differ in PatientID"),
        (series("n", "P1", PatientSex="F"), series("c", "P1", PatientSex="M"), "they differ in PatientSex"),
        (
            series("n", PatientSex="F", PatientBirthDate="19500101"),
            series("c", PatientSex="M", PatientBirthDate="19900101"),
            "they differ in PatientSex, PatientBirthDate",
        ),
    ],
)
def test_two_people_are_no_pair(source: FoundVolume, target: FoundVolume, reason: str) -> None:
    with pytest.raises(InputError, match=f"^n and c: expected one patient's NECT and CECT but {reason}; name") as error:
        pair_up([source], [target])
    assert "P1" not in str(error.value) and "1950" not in str(error.value)


def test_scans_that_belong_to_others_are_no_pair() -> None:
    with pytest.raises(InputError, match="but by their names they belong to others"):
        pair_up(niftis("n/1.nii", "n/2.nii", "n/3.nii"), niftis("c/2.nii", "c/3.nii", "c/4.nii"))
    sources = [series(f"n{i}", "X1", study) for i, study in enumerate("AB")]
    targets = [series(f"c{i}", "X1", study) for i, study in enumerate("BC")]
    with pytest.raises(InputError, match="but by their study they belong to others"):
        pair_up(sources, targets)


def test_where_nothing_is_known_the_order_is_taken_with_a_line_for_each() -> None:
    sources, targets = niftis("n/x.nii", "n/y.nii"), niftis("c/u.nii", "c/v.nii")
    ordered, doubts = pair_up(sources, targets)
    assert ordered == targets
    assert (
        doubts[0]
        == "warning: n/x.nii and c/u.nii: nothing in headers or names says that they are one patient's; taken as given"
    )
    assert len(doubts) == 2
    assert pair_up(niftis("p1_nativ.nii"), niftis("p1_portal.nii"))[1] == []
    assert pair_up(niftis("nativ.nii"), niftis("portal.nii"))[1] == []
    assert len(pair_up(niftis("p1_nativ.nii"), niftis("p2_portal.nii"))[1]) == 1
    anonymous = [series(name, "ANONYMOUS", study) for name, study in (("n", "1"), ("c", "2"))]
    assert len(pair_up(anonymous[:1], anonymous[1:])[1]) == 1


@given(st.lists(st.integers(0, 5), min_size=1, max_size=25), st.integers(0, 100))
@settings(max_examples=60)
def test_nobody_is_in_two_splits(ids: list[int], seed: int) -> None:
    """By PatientID, by study and by images alike."""
    role = {f"{('nect', 'cect')[place % 2]}_{place:03d}": number for place, number in enumerate(ids)}
    for same in (
        persons({name: [series(patient=f"P{number}")] for name, number in role.items()}),
        persons({name: [series(study=f"1.{number}")] for name, number in role.items()}),
        persons({name: [series()] for name in role}, {name: [str(number)] for name, number in role.items()}),
    ):
        assert {same[one] == same[other] for one in role for other in role if role[one] == role[other]} == {True}
        splits = split_persons(same, 0.2, 0.3, seed, kind_of=lambda name: name.split("_")[0])
        assert sorted(sum(splits.values(), [])) == sorted(role)
        split_of = {name: split for split, names in splits.items() for name in names}
        for number in ids:
            assert len({split_of[name] for name in role if role[name] == number}) == 1


def test_placeholders_and_contradictions_tie_nobody() -> None:
    found = {"a": [series(patient="ANONYMOUS")], "b": [series(patient="ANONYMOUS")]}
    assert persons(found) == {"a": "a", "b": "b"}
    found = {
        "a": [series(patient="1", PatientSex="F")],
        "b": [series(patient="1", PatientSex="M")],
        "c": [series(patient="1", PatientSex="F")],
    }
    assert persons(found) == {"a": "a", "b": "b", "c": "a"}


def test_nifti_files_of_one_name_but_for_the_phase_are_one_persons() -> None:
    names = ("x/nect/p1.nii.gz", "x/nect/p2.nii.gz", "x/cect/p02.nii", "x/p1_portal.nii")
    found = {f"v_{place}": [volume] for place, volume in enumerate(niftis(*names))}
    assert persons(found) == {"v_0": "v_0", "v_1": "v_1", "v_2": "v_1", "v_3": "v_0"}


def test_without_ties_the_splits_are_those_of_the_patients() -> None:
    names = [f"nect_{i:03d}" for i in range(11)]
    wanted = split_patients(names, 0.125, 0.25, seed=3)
    assert split_persons({name: name for name in names}, 0.125, 0.25, seed=3) == wanted


@pytest.mark.parametrize(
    ("patient", "only", "studies", "shared"),
    [
        ("ANONYMOUS", False, ["A", "A", "B", "B"], True),
        ("ANONYMOUS", True, ["A", "B"], False),  # one NECT and one CECT
        ("12345", True, ["A", "A", "B", "B"], True),
        ("12345", False, ["A", "A", "B", "B"], False),  # one patient among others, seen twice
        ("12345", True, ["A", "A", "B"], False),
        ("ANONYMOUS", True, ["A", "A", "A"], False),
    ],
)
def test_whether_studies_of_one_patient_id_are_several_peoples(
    patient: str, only: bool, studies: list[str], shared: bool
) -> None:
    assert share_an_id(patient, [series(patient=patient, study=study) for study in studies], only) is shared


def test_studies_that_contradict_each_other_are_several_peoples() -> None:
    volumes = [series(patient="1", study="A", PatientSex="F"), series(patient="1", study="B", PatientSex="M")]
    assert share_an_id("1", volumes, only=False)


def test_an_image_is_known_whatever_its_file() -> None:
    volume = np.arange(-60, 60, dtype=np.float32).reshape(4, 5, 6)
    assert image_hash(volume) == image_hash(np.asfortranarray(volume.astype(np.int16)))
    assert len({image_hash(volume), image_hash(volume + 1), image_hash(volume.reshape(5, 4, 6))}) == 3
