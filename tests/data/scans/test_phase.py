from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.phase import decide_phase, phase_from_image, phase_hint
from monai_nce.data.scans.reader import read_ct
from monai_nce.phantom.patient import make_phantom_patient


def test_images_of_the_phantom() -> None:
    for index in range(3):
        patient = make_phantom_patient(index)
        assert phase_from_image(patient.nect, patient.affine) == "nect"
        assert phase_from_image(patient.cect, patient.affine) == "cect"
        assert phase_from_image(patient.cect.transpose(2, 0, 1), patient.affine[:, [2, 0, 1, 3]]) == "cect"


def test_too_little_tissue_says_nothing() -> None:
    assert phase_from_image(np.full((20, 20, 5), -1000.0), np.eye(4)) == "unknown"
    assert phase_from_image(np.full((1, 1, 1), 150.0), np.eye(4)) == "unknown"


def test_thin_slices_are_not_all_looked_at_but_their_tissue_counts_whole() -> None:
    """100 ml are asked for, of slices of 64 x 64 x 1 mm: three become one, and every other one is left out."""
    for depth, phase in ((18, "unknown"), (36, "cect")):
        volume = np.full((64, 64, depth), 200.0)
        assert phase_from_image(volume, np.eye(4)) == phase


@pytest.mark.parametrize(
    ("description", "contrast", "texts", "phase"),
    [
        ("portal", (), ("", ""), "cect"),
        ("3.0 B30f", (), ("nativ", ""), "nect"),
        ("3.0 B30f", (), ("", "CT ABD WO CONTRAST"), "nect"),
        ("3.0 B30f", (("ContrastBolusAgent", "Ultravist"),), ("", "CT ABD WO CONTRAST"), "cect"),
        ("noncontrast", (("ContrastBolusAgent", "Ultravist"),), ("", ""), "nect"),  # contradiction: the image decides
        ("", (), ("", ""), "nect"),
    ],
)
def test_the_order_of_sources(description: str, contrast: tuple, texts: tuple, phase: str) -> None:
    patient = make_phantom_patient(0)
    found = FoundVolume("dicom", Path("x"), (), "CT", description, contrast=contrast, texts=texts)
    assert phase_hint(found, patient.nect, patient.affine) == phase


AGENT = (("ContrastBolusAgent", "Ultravist"),)


@pytest.mark.parametrize(
    ("about", "decided"),
    [
        ({"description": "portal"}, ("cect", "SeriesDescription")),
        ({"description": "portal", "contrast": AGENT}, ("cect", "SeriesDescription and ContrastBolus")),
        ({"contrast": AGENT}, ("cect", "ContrastBolus")),
        ({"comments": "pre"}, ("nect", "ImageComments")),
        ({"comments": "arterial phase", "texts": ("nativ", "")}, ("cect", "ImageComments")),
        ({"texts": ("nativ", "CT W CONTRAST")}, ("nect", "ProtocolName")),
        ({"texts": ("", "CT W CONTRAST")}, ("cect", "StudyDescription")),
        ({"texts": ("", "CT ANGIO WWO IV CONT")}, ("unknown", "")),
        ({"description": "nativ", "contrast": AGENT}, ("unknown", "contradiction")),
        ({"description": "nativ", "comments": "arterial"}, ("unknown", "contradiction")),
        ({"description": "portal", "calculated": "its ImageType says VNC"}, ("unknown", "ImageType")),
        ({}, ("unknown", "")),
    ],
)
def test_the_evidence_is_named(about: dict, decided: tuple[str, str]) -> None:
    assert decide_phase(FoundVolume("dicom", Path("x"), (), "CT", **about)) == decided


def test_the_image_decides_where_texts_contradict_each_other_or_speak_of_the_study() -> None:
    patient = make_phantom_patient(0, size=64)
    for about in (
        {"description": "nativ", "contrast": AGENT},
        {"description": "nativ", "comments": "arterial"},
        {"texts": ("", "CT ABD W CONTRAST")},
        {},
    ):
        found = FoundVolume("dicom", Path("x"), (), "CT", **about)
        assert decide_phase(found, patient.nect, patient.affine) == ("nect", "image")
        assert decide_phase(found, patient.cect, patient.affine) == ("cect", "image")


def test_real_scans(real_data: Path) -> None:
    nect = read_ct(real_data / "nect_abdomen" / "ct.nii.gz")
    cect = read_ct(real_data / "cect_abdomen_dicom" / "series")
    assert (phase_from_image(*nect), phase_from_image(*cect)) == ("nect", "cect")
    pair = find_images(real_data / "pair_2d_dicom")
    assert [phase_hint(found, *read_ct(found)) for found in pair] == ["cect", "nect"]
