"""Guess whether a CT was taken with contrast medium: by its tags, its descriptions and the image.

Scanners write the tags of one protocol into all of its series, so tags and name can contradict each other: then the
image decides, and where it is not clear the answer is "unknown".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np

from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.data.scans.enhancement import CECT_ABOVE, NECT_BELOW, bright_tissue
from monai_nce.data.scans.found import FoundVolume

__all__ = [
    "CECT",
    "NECT",
    "UNKNOWN",
    "first_named",
    "phase_from_contrast",
    "phase_from_image",
    "phase_from_text",
    "phase_hint",
    "plain_letters",
    "plain_words",
]

NECT, CECT, UNKNOWN = "nect", "cect", "unknown"

NO_AGENT = frozenset(
    ("none", "no", "not", "non", "without", "wo", "nil", "na", "n", "0", "ohne", "kein", "keine", "sans", "aucun")
)
MEDIUM = r"(?:contrast(?:e|ed|s)?|cont?|con|ce|km|kontrast(?:mittel)?|inj(?:ection|ecte|ectee)?|pdc|pc|ic)"
ROUTE = r"(?:(?:iv|i v|any|intravenous|de|du|produit|d)\s)*"
PLAIN = (
    rf"(?:without|w\s?o|no|non|sans|ohne|s|o)\s(?:iv\s?)?{ROUTE}{MEDIUM}",
    r"(?:without|wo|no|sans|ohne)\siv",
    r"noncontrast\w*|unenhanced|non\s?enhanced|non\s?contrast\w*|non\sinj\w*|kontrastmittelfrei",
    r"nativ(?:e|es|er|phase|serie)?|nect|ncct|nc|plain|precontrast|pre\s?contrast|leerserie|spontanee?",
    r"pre(?=\s(?:liver|abd\w*|kidneys?|renal|pancreas|iv|inj\w*|km|phase)\b)(?:\s(?:iv|inj\w*|km))*|^pre$",
    r"(?:av|avant)\s(?:iv|inj\w*|contraste)|vor\skm",
    r"c\sminus|without$",
)
ENHANCED = (
    r"arterial\w*|arteriell\w*|arteriel(?:le)?s?|artere|frueharteriell|spatarteriell|portal\w*|porto\w*|pvp?",
    r"veineu(?:x|se)|ven(?:ous|os|ose|oese|oes|eux|euse)\w*|venenphase|tardi(?:f|ve)s?|delay(?:ed)?|late|spat(?:e|phase|venos\w*)?",
    r"spaet(?:e|phase)?|nephro(?:graph|gen)\w*|corticomedul\w*|excret\w*|urograph\w*|equilib\w*|parenchymal?phase",
    r"angio\w*|cta|ctpa|post\s?contrast\w*|postcontrast|enhanced|cect|contrast(?:e|ed)?|kontrast\w*|km",
    rf"(?:with|w|avec|mit|nach|after|apres|post)\s(?:iv\s?)?{ROUTE}{MEDIUM}",
    r"inject(?:e|ee|es|ion)|inj|c\splus",
)
BOTH = r"\bw(?:ith)?\s(?:and\s)?(?:wo|without)\b|\b(?:wo|without)\s(?:and\s)?w(?:ith)?\b"
GUT = r"(?:oral\w*|per\sos|rectal\w*|po)"
ASIDE = rf"\b{GUT}\s(?:contrast\w*|km|kontrast\w*)|\b(?:contrast\w*|km)\s{GUT}\b"

MIN_TISSUE_ML = 100.0


def phase_hint(found: FoundVolume, volume: np.ndarray | None = None, affine: np.ndarray | None = None) -> str:
    """Guess whether a volume shows contrast medium.

    Args:
        found: its tags and descriptions.
        volume: (H, W, D) in HU; None if it could not be read, or only what is written is wanted.
        affine: 4×4 matrix from voxel indices to RAS millimetres.

    Returns:
        ``"nect"``, ``"cect"`` or ``"unknown"``.
    """
    tags = phase_from_contrast(found.contrast)
    said = {tags, first_named(found, tags, phase_from_text)} - {UNKNOWN}
    if len(said) == 1:
        return said.pop()
    return UNKNOWN if volume is None or affine is None else phase_from_image(volume, affine)


def first_named(found: FoundVolume, tags: str, name_of: Callable[[str], str]) -> str:
    """Return what the description of the series says, else that of the protocol, else that of the study.

    ``name_of`` reads one. A study holds several series, so its name counts only where the ``tags`` say nothing.
    """
    protocol, study = (*found.texts, "", "")[:2]
    name = name_of(found.description)
    if name == UNKNOWN:
        name = name_of(protocol)
    return name_of(study) if name == tags == UNKNOWN else name


def phase_from_contrast(contrast: Sequence[tuple[str, str]]) -> str:
    """Read the ContrastBolus elements, given as keyword and value.

    ``"cect"`` if they name an agent or an amount, ``"nect"`` if they say that there was none, else ``"unknown"``.
    """
    said = {_contrast_element(keyword, value) for keyword, value in contrast} - {UNKNOWN}
    return said.pop() if len(said) == 1 else UNKNOWN


def phase_from_text(text: str) -> str:
    """Read a description in English, German or French, such as ``"Abdomen portal 3.0"`` or ``"Leber nativ"``.

    ``"nect"``, ``"cect"``, or ``"unknown"`` where it says nothing, or both.
    """
    words = re.sub(ASIDE, " ", _plain(text))
    if re.search(BOTH, words):
        return UNKNOWN
    rest, plain = re.subn(_any(PLAIN), " ", words)
    enhanced = re.search(_any(ENHANCED), rest)
    if bool(plain) == bool(enhanced):
        return UNKNOWN
    return NECT if plain else CECT


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


def _contrast_element(keyword: str, value: str) -> str:
    if keyword in ("ContrastBolusAgent", "ContrastBolusIngredient"):
        words = _plain(value).split()
        if not words or set(words) <= {"oral", "po", "rectal", "contrast"}:
            return UNKNOWN
        if words[0] in NO_AGENT and not (words[0] == "non" and len(words) > 1 and words[1].startswith("ioni")):
            return NECT
        return CECT
    try:
        return CECT if float(value) > 0 else UNKNOWN
    except ValueError:
        return CECT if keyword == "ContrastBolusStartTime" else UNKNOWN


def _plain(text: str) -> str:
    """Return lower case without accents, words apart by single spaces."""
    text = plain_letters(text)
    text = re.sub(r"\bw/o\b", " without ", text)
    text = re.sub(r"\bw/", " with ", text)
    text = re.sub(r"(?<![a-z0-9])c\s?\+", " c plus ", text)
    text = re.sub(r"(?<![a-z0-9])c\s?-(?![a-z0-9])", " c minus ", text)
    text = re.sub(r"\bi\.\s?v\b", "iv", text)
    return plain_words(text)


def plain_letters(text: str) -> str:
    """Return a text in lower case, without accents."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def plain_words(text: str) -> str:
    """Return the words and numbers of a lower-case text, apart by single spaces."""
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text).split())


def _any(patterns: Sequence[str]) -> str:
    return r"\b(?:" + "|".join(patterns) + r")\b"
