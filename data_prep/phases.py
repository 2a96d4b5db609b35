"""Name the contrast phase of a series by its descriptions and tags, in English, German and French.

Whether there was contrast medium at all is :mod:`monai_nce.data.scans.phase`'s business; here the phase gets its name.
"""

from __future__ import annotations

import re

from monai_nce.data.scans.found import FoundVolume
from monai_nce.data.scans.phase import (
    CECT,
    CONTRADICTION,
    NECT,
    UNKNOWN,
    nearest_text,
    phase_from_contrast,
    phase_from_text,
    study_phase,
)
from monai_nce.data.scans.phase_words import plain_letters, plain_words

__all__ = [
    "CONTRAST_PHASES",
    "ENHANCED",
    "OTHER",
    "PHASES",
    "WANTED",
    "enhanced_order",
    "name_phase",
    "phase_of",
    "strip_phase",
]

WANTED = ("portal", "arterial", "late")
ENHANCED = ("portal", CECT, "late", "arterial")  # best first; "cect" is one whose phase has no name
OTHER = "other"  # no CT as acquired, or one that a preset says is neither
PHASES = (NECT, *ENHANCED, OTHER, UNKNOWN)
CONTRAST_PHASES = {"arterial": "arterial", "portal": "portal", "late": "delayed"}  # those of monai_nce.contrast

# Calculated from others: a virtual non-contrast image is none as acquired.
CALCULATED = (
    r"\b(?:virtu\w*|vnc|vne|tnc|mip|minip|vrt|subtr\w*|subst\w*|iod\w*|jod\w*|overlay|mono\s?e?\w*"
    r"|perfusion\w*|spectral\w*|screen\w*|dose|dosis)\b"
)
ARTERIAL = r"\w*arteri\w*|aterial|artere|art|hap|corticomedul\w*|kortikomedul\w*|angio\w*|cta"
PORTAL = r"\w*portal\w*|porto\w*|porte|pv|pvp|pvphase|ven|venous|veno[es]\w*|vein\w*|venenphase|parenchym\w*"
LATE = (
    r"late|delay(?:ed)?|tardi\w*|spaet\w*|spat\w*|equilib\w*|aequilib\w*|nephro\w*|excret\w*|urograph\w*"
    r"|ausscheid\w*|excretoire|(?:[3-9]|1\d)\s?min"
)
BEFORE = r"(?:late|early|spaet|spat|frueh|fruh|precoce|tardi(?:f|ve))"
NAMED = (
    r"native?|nativ\w+|nect|cect|ncct|nc|non\s?contrast|pre|post|unenhanced|contrast(?:e)?|phase|iv|(?:ohne|mit)?\s?km"
    r"|(?:sans|avec)\s(?:iv|injection|contraste)"
)
WORDS = "|".join((ARTERIAL, PORTAL, LATE, NAMED))
UMLAUTS = {ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue"}


def name_phase(text: str) -> str:
    """Find the phase that a text names, such as ``"Abdomen portalvenös 3.0"``, ``"temps tardif"`` or ``"Leber nativ"``.

    Returns:
        ``"nect"``; ``"arterial"``, ``"portal"`` or ``"late"``; ``"cect"`` for contrast medium without a phase, or with
        several; ``"other"`` for what was calculated from scans; ``"unknown"`` where it says nothing, or both.
    """
    words = _plain(text)
    if re.search(CALCULATED, words):
        return OTHER
    known, phase = phase_from_text(text), _enhanced(words)
    if known == NECT:
        return NECT if phase == UNKNOWN else UNKNOWN
    # short words such as "art" or "ven" count where nothing in the text denies contrast medium
    if known == CECT or (phase != UNKNOWN and phase_from_text(f"{text} portal") == CECT):
        return CECT if phase == UNKNOWN else phase
    return UNKNOWN


def phase_of(volume: FoundVolume) -> tuple[str, str]:
    """Find the phase of a series by its header alone.

    Returns:
        The phase, as of :func:`name_phase`, and what showed it: ``"description"`` (of the series or its protocol, or
        its images' comments), ``"tags"``, ``"study"`` for the study's description, which may mean other series, or
        nothing where it is ``"unknown"``. Where description and tags contradict each other, only the image can tell,
        so it is unknown.
    """
    if volume.calculated:
        return OTHER, "tags"
    tags = phase_from_contrast(volume.contrast)
    name, keyword = nearest_text(volume, name_phase)
    if name == OTHER:
        return OTHER, "description"
    if name != UNKNOWN:
        contradicted = tags != UNKNOWN and (name == NECT) != (tags == NECT)
        return (UNKNOWN, "") if contradicted else (name, "description")
    if tags != UNKNOWN or keyword == CONTRADICTION:
        return (tags, "tags") if keyword != CONTRADICTION else (UNKNOWN, "")
    study = study_phase(volume, name_phase)
    return (study, "study") if study not in (UNKNOWN, OTHER) else (UNKNOWN, "")


def enhanced_order(wanted: str) -> tuple[str, ...]:
    """List the phases of a CECT, best first, of which ``wanted`` is the first."""
    return (wanted, *(phase for phase in ENHANCED if phase != wanted))


def strip_phase(text: str) -> str:
    """Strip the words that name a phase from a file's or folder's name: ``"p07_nativ"`` becomes ``"p07"``."""
    return " ".join(re.sub(rf"\b(?:{WORDS})\b", " ", _plain(text)).split())


def _enhanced(words: str) -> str:
    """Find the one enhanced phase that the words name, else unknown."""
    # "late arterial" is arterial, "late venous" is late
    words = re.sub(rf"\b{BEFORE}\s?(?=\w*arteri|art\b)|(?<=arterial )late\b|(?<=arteriel )tardif\b", " ", words)
    words = re.sub(rf"\b((?:{LATE})\s?)(?:{PORTAL})\b|\b(?:{PORTAL})\s(?={LATE}\b)", r" \1 ", words)
    named = {
        phase
        for phase, pattern in (("arterial", ARTERIAL), ("portal", PORTAL), ("late", LATE))
        if re.search(rf"\b(?:{pattern})\b", words)
    }
    return named.pop() if len(named) == 1 else UNKNOWN


def _plain(text: str) -> str:
    """Write a text in lower case without accents, umlauts spelt out, words apart by single spaces."""
    return plain_words(plain_letters(text.casefold().translate(UMLAUTS)))
