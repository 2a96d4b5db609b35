"""Tests of virtual patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from monai_nce.virtual.anatomy import Anatomy, complete
from monai_nce.virtual.patient import LABELS, VirtualPatient, make_virtual_patient
from tests.virtual.anatomy_map import SPACING, torso_map

SIZE, SLICES = 64, 8


@pytest.fixture(scope="module")
def torso() -> Anatomy:
    return complete(torso_map(), spacing=SPACING)


@pytest.fixture(scope="module")
def patients(torso: Anatomy) -> list[VirtualPatient]:
    return [make_virtual_patient(torso, index, size=SIZE, slices=SLICES, phase="portal") for index in range(6)]


def region(patient: VirtualPatient, *names: str) -> np.ndarray:
    """Return where tissues are, away from their borders."""
    return ndimage.binary_erosion(np.isin(patient.labels, [LABELS[name] for name in names]), iterations=1)


def test_shapes_types_and_place(patients: list[VirtualPatient]) -> None:
    for patient in patients:
        for scan in (patient.cect, patient.nect, patient.nect_aligned):
            assert scan.shape == (SIZE, SIZE, SLICES)
            assert scan.dtype == np.int16
            assert -1024 <= scan.min() < -900
            assert scan.max() <= 3071
        assert patient.labels.dtype == np.uint8
        spacing = np.diag(patient.affine)[:3]
        assert spacing[0] == spacing[1] == pytest.approx(1024 / 3 / SIZE)
        assert 3 <= spacing[2] <= 5


def test_contrast_rises_in_vessels_and_organs_and_not_in_fat(patients: list[VirtualPatient]) -> None:
    rises: dict[str, list[float]] = {}
    for patient in patients:
        difference = patient.cect.astype(float) - patient.nect_aligned
        for name in ("liver", "aorta", "subcutaneous_fat", "muscle"):
            where = patient.labels == LABELS["aorta"] if name == "aorta" else region(patient, name)
            if where.sum() > 20:
                rises.setdefault(name, []).append(difference[where].mean())
    assert 25 < np.mean(rises["liver"]) < 90
    assert 40 < np.mean(rises["aorta"]) < 200  # too thin here to be away from its border
    assert abs(np.mean(rises["subcutaneous_fat"])) < 3
    assert np.mean(rises["muscle"]) < 25


def test_the_liver_is_on_the_patients_right(patients: list[VirtualPatient]) -> None:
    for patient in patients:
        where = np.argwhere(patient.labels == LABELS["liver"])
        if len(where):
            assert where[:, 0].mean() > SIZE / 2  # RAS+: x grows to the right


def test_the_acquired_scan_has_moved(patients: list[VirtualPatient]) -> None:
    for patient in patients:
        moved = np.abs(patient.nect.astype(float) - patient.nect_aligned).mean()
        noise = np.abs(patient.nect_aligned - (patient.nect_aligned + 0.0)).mean()
        assert moved > 10 + noise


def test_a_patient_depends_on_seed_and_index_alone(torso: Anatomy, patients: list[VirtualPatient]) -> None:
    again = make_virtual_patient(torso, 3, size=SIZE, slices=SLICES, phase="portal")
    np.testing.assert_array_equal(again.cect, patients[3].cect)
    np.testing.assert_array_equal(again.nect, patients[3].nect)
    assert again.note == patients[3].note
    other = make_virtual_patient(torso, 3, seed=1, size=SIZE, slices=SLICES, phase="portal")
    assert (other.cect != again.cect).mean() > 0.3


def test_the_note_says_what_was_drawn(patients: list[VirtualPatient]) -> None:
    note = patients[0].note
    assert note["phase"] == "portal"
    assert 0.5 < note["level"] < 1.6
    assert note["anatomy"] == "torso"


@pytest.mark.parametrize(("name", "value"), [("index", -1), ("size", 16), ("slices", 0)])
def test_numbers_out_of_range(torso: Anatomy, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"expected {name} of at least"):
        make_virtual_patient(torso, **{"index": 0, name: value})
