"""Guess whether a CT was taken with contrast medium: by its tags, its descriptions and the image.

Scanners write the tags of one protocol into all of its series, so tags and name can contradict each other: then the
image decides, and where it is not clear the answer is "unknown".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np
from nibabel.affines import voxel_sizes

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

# Image: smooth places of 100 to 450 HU are vessels and kidneys with contrast medium, or spongy bone; in HU and mm.
VOXEL_MM = 2.7
APART_MM = 5.0  # from one slice that is looked at to the next
SMOOTH_HU = 20.0
TISSUE_HU = (0.0, 90.0)
BRIGHT_HU = (110.0, 450.0)
MIN_TISSUE_MM3 = 1e5
# Bright as a share of tissue: 0.005 in a real NECT, 0.072 in a real CECT; on the phantom at most 0.022, at least 0.6.
NECT_BELOW, CECT_ABOVE = 0.025, 0.035


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
    """Look how much of the image is bright and smooth, compared with soft tissue.

    Args:
        volume: (H, W, D) in HU.
        affine: 4×4 matrix from voxel indices to RAS millimetres.

    Returns:
        ``"nect"``, ``"cect"``, or ``"unknown"`` in between or where there is less than 100 ml of tissue.
    """
    order = np.argsort(volume.strides)[::-1]  # as the voxels lie in memory
    volume, sizes = volume.transpose(order), voxel_sizes(affine)[order]
    factors = np.clip(np.rint(VOXEL_MM / sizes), 1, volume.shape).astype(int)
    shape = np.array(volume.shape) // factors
    cut = volume[tuple(slice(0, size) for size in shape * factors)]
    coarse = cut.astype(np.float32, copy=False)
    thick = int(np.argmax(sizes * factors))  # across the thickest slices neighbours differ too much
    in_plane = [axis for axis in range(3) if axis != thick]
    every = max(round(APART_MM / float((sizes * factors)[thick])), 1)
    steps = factors.copy()
    steps[thick] *= every
    for axis in (thick, *in_plane):
        parts = [coarse[(slice(None),) * axis + (slice(at, None, steps[axis]),)] for at in range(factors[axis])]
        coarse = parts[0]
        if len(parts) > 1:  # reshaping and one mean over all takes three times as long
            coarse = sum(parts[2:], start=parts[0] + parts[1])
            coarse *= np.float32(1 / len(parts))
    mean = _mean_of_neighbours(coarse, in_plane)
    smooth = _mean_of_neighbours(coarse**2, in_plane) - mean**2 < SMOOTH_HU**2
    tissue = np.count_nonzero(smooth & (mean > TISSUE_HU[0]) & (mean < TISSUE_HU[1]))
    bright = np.count_nonzero(smooth & (mean > BRIGHT_HU[0]) & (mean < BRIGHT_HU[1]))
    if (tissue + bright) * float(np.prod(sizes * factors)) * every < MIN_TISSUE_MM3:
        return UNKNOWN
    share = float(bright) / max(float(tissue), 1.0)
    return NECT if share < NECT_BELOW else CECT if share > CECT_ABOVE else UNKNOWN


def _mean_of_neighbours(volume: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Average each voxel and its neighbours along the axes; beyond the edge the voxel itself counts."""
    for axis in axes:
        along = np.moveaxis(volume, axis, 0)
        mean = along.copy(order="K")
        mean[1:] += along[:-1]
        mean[:1] += along[:1]
        mean[:-1] += along[1:]
        mean[-1:] += along[-1:]
        mean /= np.float32(3)
        volume = np.moveaxis(mean, 0, axis)
    return volume


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
