from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.phases import CONTRAST_PHASES, ENHANCED, enhanced_order, name_phase, phase_of, strip_phase
from monai_nce import contrast
from monai_nce.data.scans.found import FoundVolume

NAMES = {
    "nect": [
        *("noncontrast", "Abdomen without contrast", "w/o contrast", "no IV contrast", "PRE LIVER", "non-enhanced 5.0"),
        *("Leber nativ", "Abdomen ohne KM", "Nativphase 3.0", "Abd nat. nativ"),
        *("Abdomen sans injection", "ABDO IV-", "TAP IV - 2mm", "non injecté", "C-"),
    ],
    "arterial": [
        *("arterial", "late arterial phase", "Abd art 1.0", "Aterial", "CTA abdomen"),
        *("Leber arteriell", "spätarteriell", "frühe arterielle Phase"),
        *("temps artériel", "artériel tardif", "ABDO IV+ artériel"),
    ],
    "portal": [
        *("portal venous phase", "Abdomen venous", "PV 5.0", "Thorax/Abd. ven."),
        *("Oberbauch portalvenös 2.0", "Abdomen venös B30f", "KM portal", "PORTALVENÖS"),
        *("TAP injecté temps portal", "portal avec injection"),
    ],
    "late": [
        *("late", "Delayed 5 min", "excretory", "nephrographic", "delayed venous"),
        *("Spätphase", "spätvenös", "Ausscheidungsphase"),
        *("temps tardif", "phase tardive"),
    ],
    "cect": ["post contrast", "Abdomen mit KM", "avec injection", "ABDO IV+", "C+", "arterial and portal"],
    "other": ["VNC", "virtual non contrast", "Virtuell nativ", "Iodine map", "MIP cor", "subtraction arterial"],
    "unknown": [
        *("", "Abdomen", "Start", "AP", "Partial", "Recon 2: LIVER 3 PHASE (AP)", "Invention", "Kohorte"),
        *("Native and portal venous", "nativ/ven"),
        *("ohne/mit KM portal", "Abdomen W/WO contrast", "sans et avec injection"),
    ],
}


@pytest.mark.parametrize(("phase", "text"), [(phase, text) for phase, texts in NAMES.items() for text in texts])
def test_names(phase: str, text: str) -> None:
    assert name_phase(text) == phase


AGENT, NONE = (("ContrastBolusAgent", "Iomeprol"),), (("ContrastBolusAgent", "NONE"),)


@pytest.mark.parametrize(
    ("description", "texts", "contrast", "phase", "evidence"),
    [
        ("portal", (), AGENT, "portal", "description"),
        ("portal", (), (), "portal", "description"),
        ("nativ", (), AGENT, "unknown", ""),  # a protocol's tags, or a wrong name: only the image can tell
        ("portal", (), NONE, "unknown", ""),
        ("", ("late", ""), (), "late", "description"),
        ("", ("", "Abdomen nativ"), (), "nect", "study"),
        ("", ("", "Abdomen nativ"), AGENT, "cect", "tags"),  # the study's name does not outweigh the series' tags
        ("", (), NONE, "nect", "tags"),
        ("", (), (), "unknown", ""),
        ("MIP", ("portal", ""), AGENT, "other", "description"),
    ],
)
def test_header(description: str, texts: tuple, contrast: tuple, phase: str, evidence: str) -> None:
    volume = FoundVolume("dicom", Path("a"), (Path("a"),), description=description, texts=texts, contrast=contrast)
    assert phase_of(volume) == (phase, evidence)


def test_order_begins_with_what_is_wanted() -> None:
    assert enhanced_order("portal") == ("portal", "cect", "late", "arterial")
    assert enhanced_order("arterial") == ("arterial", "portal", "cect", "late")


@pytest.mark.parametrize("text", ["p07_nativ", "p07-PORTAL", "p07 sans injection", "nect_p07", "P07"])
def test_one_patient_under_all_phases(text: str) -> None:
    assert strip_phase(text) == "p07"


def test_phases_that_a_network_can_be_told() -> None:
    assert set(CONTRAST_PHASES) == set(ENHANCED) - {"cect"}
    assert set(CONTRAST_PHASES.values()) == set(contrast.PHASES)
