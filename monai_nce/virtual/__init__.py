"""Virtual patients: pairs of CTs with and without contrast, made from segmentations of real scans."""

from __future__ import annotations

from monai_nce.virtual.anatomy import Anatomy, complete
from monai_nce.virtual.label_map import LabelMap, read_label_map
from monai_nce.virtual.patient import (
    LABELS,
    VirtualPatient,
    VirtualTwins,
    make_virtual_patient,
    make_virtual_twins,
)
from monai_nce.virtual.physiology import Physiology, sample_physiology
from monai_nce.virtual.planted import PATTERNS, PlantedLesion, WantedLesion
from monai_nce.virtual.tissue import PHASES, TISSUES, expected_enhancement

__all__ = [
    "LABELS",
    "PATTERNS",
    "PHASES",
    "TISSUES",
    "Anatomy",
    "LabelMap",
    "Physiology",
    "PlantedLesion",
    "VirtualPatient",
    "VirtualTwins",
    "WantedLesion",
    "complete",
    "expected_enhancement",
    "make_virtual_patient",
    "make_virtual_twins",
    "read_label_map",
    "sample_physiology",
]
