"""Virtual patients: pairs of CTs with and without contrast, made from segmentations of real scans."""

from __future__ import annotations

from monai_nce.virtual.physiology import Physiology, sample_physiology
from monai_nce.virtual.tissue import PHASES, TISSUES, expected_enhancement

__all__ = ["PHASES", "TISSUES", "Physiology", "expected_enhancement", "sample_physiology"]
