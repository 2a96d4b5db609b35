from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_nce.data.scans.found import FoundVolume, find_images
from monai_nce.data.scans.phase import phase_from_contrast, phase_from_image, phase_from_text, phase_hint
from monai_nce.data.scans.reader import read_ct
from monai_nce.phantom.patient import make_phantom_patient

TEXTS = {
    "nect": [
        "noncontrast", "Non-Contrast", "NON CONTRAST", "CT ABD AND PELVIS WO IV CONT",
        "5.3 CHEST/ABD/PEL (NON CONTRAST)",
        "ABD W/O", "Abdomen w/o contrast", "without IV contrast", "unenhanced", "Nativ 3.0", "Leber nativ", "native",
        "ohne KM", "Abdomen o. KM", "ohne Kontrastmittel", "sans injection", "SANS IV",
        "Abdo sans produit de contraste",
        "non injecté", "Spontané", "precontrast", "PRE LIVER", "pre", "ABD C- 5.0", "NC", "plain",
        "ohne i.v. KM", "Abdomen_nativ_2.0_B30f", "avant injection", "native, oral contrast",
    ],
    "cect": [
        "arterial", "ARTERIAL PHASE", "artériel", "arteriell", "Abdomen portal", "portalvenös 3mm",
        "Portal Venous",
        "late", "Spät", "SPAETPHASE", "temps tardif", "Delayed", "nephrographic", "mit KM", "nach KM",
        "Abdomen KM",
        "avec injection", "après injection", "W IV CONTRAST", "w/ contrast", "ABD C+", "post contrast", "enhanced",
        "CTA Aorta", "CT CHEST PULMONARY ANGIO WITH IV CON", "FDG_TK_KM", "venös", "veineux", "temps portal",
        "5.9 PE<200 LBS/ 90 KG 4 CC/SEC INJECTION RATE", "Abdomen_portalvenoes_1.0",
    ],
    "unknown": [
        "", "STANDARD 2.5mm", "CHEST 1.25 MM", "CT Body 3.0", "template", "PLATE FIXATION", "spatial", "alternative",
        "W WO CONTRAST", "CT ABDOMEN W AND WO CONTRAST", "nativ + portal", "oral contrast", "PRE OP PLANNING", "NCE",
        "Recon 2: LIVER", "Topogram", "Kontrolle", "pancreas", "contrary", "injury", "Nativity hospital",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("phase", "text"), [(phase, text) for phase, texts in TEXTS.items() for text in texts])
def test_descriptions(phase: str, text: str) -> None:
    assert phase_from_text(text) == phase


@pytest.mark.parametrize(
    ("elements", "phase"),
    [
        ({}, "unknown"),
        ({"ContrastBolusAgent": "NON IONIC"}, "cect"),
        ({"ContrastBolusAgent": "APPLIED"}, "cect"),
        ({"ContrastBolusAgent": "Omnipaque 350"}, "cect"),
        ({"ContrastBolusAgent": "ORAL & IV"}, "cect"),
        ({"ContrastBolusAgent": "IODINE", "ContrastBolusVolume": "90"}, "cect"),
        ({"ContrastBolusStartTime": "101112.5"}, "cect"),
        ({"ContrastBolusAgent": "NONE"}, "nect"),
        ({"ContrastBolusAgent": "no"}, "nect"),
        ({"ContrastBolusAgent": "N/A"}, "nect"),
        ({"ContrastBolusAgent": "without contrast"}, "nect"),
        ({"ContrastBolusAgent": "NO CONTRAST", "ContrastBolusVolume": "0"}, "nect"),
        ({"ContrastBolusAgent": "ohne"}, "nect"),
        ({"ContrastBolusAgent": "ORAL"}, "unknown"),
        ({"ContrastBolusVolume": "0.0"}, "unknown"),
        ({"ContrastBolusAgent": "NONE", "ContrastBolusVolume": "90"}, "unknown"),
    ],
)
def test_tags(elements: dict[str, str], phase: str) -> None:
    assert phase_from_contrast(tuple(elements.items())) == phase


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


def test_real_scans(real_data: Path) -> None:
    nect = read_ct(real_data / "nect_abdomen" / "ct.nii.gz")
    cect = read_ct(real_data / "cect_abdomen_dicom" / "series")
    assert (phase_from_image(*nect), phase_from_image(*cect)) == ("nect", "cect")
    pair = find_images(real_data / "pair_2d_dicom")
    assert [phase_hint(found, *read_ct(found)) for found in pair] == ["cect", "nect"]
