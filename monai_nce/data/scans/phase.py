"""Decide whether a CT was taken with contrast medium: by what is written about it, and by the image.

The nearest text counts before one that is shared with other series: SeriesDescription and ImageComments, then
ProtocolName. Scanners write the ContrastBolus elements of one protocol into all of its series, so that they and the
text can contradict each other: then the image decides. StudyDescription speaks of several series and counts last. What
was calculated from scans has no phase.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.data.scans.contrast_tags import phase_from_contrast
from monai_nce.data.scans.enhancement import CECT_ABOVE, NECT_BELOW, bright_tissue
from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.phase_words import CECT, NECT, UNKNOWN, phase_from_text

__all__ = [
    "CECT",
    "CONTRADICTION",
    "IMAGE",
    "NECT",
    "STUDY",
    "TAGS",
    "UNKNOWN",
    "decide_phase",
    "nearest_text",
    "phase_from_contrast",
    "phase_from_image",
    "phase_from_text",
    "phase_hint",
    "study_phase",
]

TAGS, IMAGE, STUDY, CONTRADICTION = "ContrastBolus", "image", "StudyDescription", "contradiction"
MIN_TISSUE_ML = 100.0


def phase_hint(found: FoundVolume, volume: np.ndarray | None = None, affine: np.ndarray | None = None) -> str:
    """Return the phase that :func:`decide_phase` decides for, without the evidence."""
    return decide_phase(found, volume, affine)[0]


def decide_phase(
    found: FoundVolume, volume: np.ndarray | None = None, affine: np.ndarray | None = None
) -> tuple[str, str]:
    """Decide whether a volume shows contrast medium.

    Args:
        found: its tags and descriptions.
        volume: (H, W, D) in HU; None if it could not be read, or only what is written is wanted.
        affine: 4×4 matrix from voxel indices to RAS millimetres.

    Returns:
        ``"nect"``, ``"cect"`` or ``"unknown"``; and what showed it: DICOM's keywords, ``"ContrastBolus"`` for any of
        these elements, ``"image"``, or ``"contradiction"`` where what is written contradicts itself and the image does
        not help. Empty where nothing says anything.
    """
    if found.calculated:
        return UNKNOWN, "ImageType"
    tags = phase_from_contrast(found.contrast)
    text, keyword = nearest_text(found, phase_from_text)
    said = {evidence: phase for evidence, phase in ((keyword, text), (TAGS, tags)) if phase != UNKNOWN}
    if len(set(said.values())) == 1:
        return next(iter(said.values())), " and ".join(said)
    seen = UNKNOWN if volume is None or affine is None else phase_from_image(volume, affine)
    if seen != UNKNOWN:
        return seen, IMAGE
    if said or keyword == CONTRADICTION:
        return UNKNOWN, CONTRADICTION
    study = study_phase(found, phase_from_text)
    return study, STUDY if study != UNKNOWN else ""


def nearest_text(found: FoundVolume, name_of: Callable[[str], str]) -> tuple[str, str]:
    """Name the phase by the series' description and its images' comments, or else by the protocol.

    Args:
        found: the volume.
        name_of: reads one text.

    Returns:
        The phase, and the text's keyword, which is empty where none says anything, and ``"contradiction"`` where
        description and comments contradict each other.
    """
    near = {"SeriesDescription": found.description, "ImageComments": found.comments}
    said = {keyword: phase for keyword, text in near.items() if (phase := name_of(text)) != UNKNOWN}
    if len({phase == NECT for phase in said.values()}) > 1:
        return UNKNOWN, CONTRADICTION
    if not said and (phase := name_of(found.texts[0] if found.texts else "")) != UNKNOWN:
        return phase, "ProtocolName"
    return next(((phase, keyword) for keyword, phase in said.items()), (UNKNOWN, ""))


def study_phase(found: FoundVolume, name_of: Callable[[str], str]) -> str:
    """Name the phase by the study's description, which may be meant for other series of the study."""
    return name_of(found.texts[1] if len(found.texts) > 1 else "")


def phase_from_image(volume: np.ndarray, affine: np.ndarray) -> str:
    """Look how much of the soft tissue is bright: :func:`~monai_nce.data.scans.enhancement.bright_tissue`.

    Args:
        volume: (H, W, D) in HU.
        affine: 4×4 matrix from voxel indices to RAS millimetres.

    Returns:
        ``"nect"``, ``"cect"``, or ``"unknown"`` in between or where there is less than 100 ml of tissue.
    """
    found = bright_tissue(CoarseScan.of(volume, affine))
    if found.total < MIN_TISSUE_ML:
        return UNKNOWN
    return NECT if found.share < NECT_BELOW else CECT if found.share > CECT_ABOVE else UNKNOWN
