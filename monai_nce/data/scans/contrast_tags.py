"""Read from the ContrastBolus elements of a DICOM header whether a CT was taken with contrast medium.

What was given into the gut says nothing about vessels and organs, whatever its volume and time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from monai_nce.data.scans.phase_words import CECT, NECT, UNKNOWN, plain_text

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["contrast_elements", "phase_from_contrast"]

AGENT, INGREDIENT, ROUTE = "ContrastBolusAgent", "ContrastBolusIngredient", "ContrastBolusRoute"
GIVEN = "ContrastBolusAgentAdministered"
AMOUNTS = ("ContrastBolusVolume", "ContrastBolusStartTime", "ContrastBolusTotalDose")
GUT = "gut"
# Patterns of single words.
NO_AGENT = (
    r"none|no|not|non|without|wo|nil|na|n|0|ohne|keine?s?|sans|aucune?|nein|pas|sin|senza|cminus|nect|native?|unenhanced"
    r"|noncon\w*"
)
GUT_ROUTE = r"oral\w*|po|os|rect\w+|rektal|enter\w+|enema"
GUT_AGENT = (
    r"water|wasser|eau|agua|acqua|h2o|gastro\w*|readi|readicat|cat|ezcat|barium\w*|baritop|micropaque|volumen|breeza"
    r"|neulumex|mannitol|milk|milch|lait|peg|sorbitol|methylcellulose|air|luft|co2|carbon|dioxide|saline|nacl"
)
FILLERS = (  # neither one nor the other
    r"contraste?|kontrast\w*|km|cm|agent|medium|media|only|nur|per|and|und|et|with|w|mit|avec|given|ml|cc|l|v|mg|g|e|z|ez"
    r"|md|diluted?|sulfate?|unknown|unspecified|other|telebrix|peritrast|\d+(?:ml|cc|l|g|mg)?"
)
SEVERAL = r"(?i)[&+]|\b(?:and|und|et)\b"
NO_GUT = r"\b(?:no|without|ohne|sans)\s(?:oral|po|rectal)\b"


def contrast_elements(header: Dataset) -> tuple[tuple[str, str], ...]:
    """List what a header says about contrast medium, by keyword: elements, coded agents, routes and frames."""
    return tuple((keyword, text) for keyword, value in _elements(header) if (text := str(value).strip()))


def _elements(header: Dataset) -> Iterator[tuple[str, Any]]:
    for keyword in (AGENT, INGREDIENT, *AMOUNTS, ROUTE):
        if header.get(keyword):
            yield keyword, header[keyword].value
    yield from ((ROUTE, route) for route in _routes(header))
    for item in header.get("ContrastBolusAgentSequence") or ():
        routes = _routes(item)
        gut = bool(routes) and all(_any(GUT_ROUTE, route) for route in routes)
        name = item.get("CodeMeaning") or item.get("CodeValue") or item.get("LongCodeValue") or ""
        yield AGENT, "oral" if gut else name
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        usages = (
            usage for group in header.get(groups) or () for usage in group.get("ContrastBolusUsageSequence") or ()
        )
        yield from ((GIVEN, usage.get(GIVEN) or "") for usage in islice(usages, 1))


def _routes(item: Dataset) -> list[str]:
    return [str(route.get("CodeMeaning") or "") for route in item.get("ContrastBolusAdministrationRouteSequence") or ()]


def phase_from_contrast(contrast: Sequence[tuple[str, str]]) -> str:
    """Read the ContrastBolus elements, given as keyword and value.

    Returns:
        ``"cect"`` if they name an agent or an amount of it, ``"nect"`` if they say that there was none, else
        ``"unknown"``: where they contradict each other, or the agent went into the gut.
    """
    if {value.upper() for keyword, value in contrast if keyword == GIVEN} == {"NO"}:
        return NECT
    routes = [value for keyword, value in contrast if keyword == ROUTE]
    agents = [_agent(value) for keyword, value in contrast if keyword == AGENT]
    named = agents or [_agent(value) for keyword, value in contrast if keyword == INGREDIENT]
    if (routes and all(_any(GUT_ROUTE, route) for route in routes)) or set(named) == {GUT}:
        return UNKNOWN
    amounts = [_amount(keyword, value) for keyword, value in contrast if keyword not in (AGENT, INGREDIENT, ROUTE)]
    said = {*named, *amounts} - {UNKNOWN, GUT}
    return said.pop() if len(said) == 1 else UNKNOWN


def _agent(value: str) -> str:
    words = re.sub(NO_GUT, " ", plain_text(value).replace("non ioni", "nonioni")).split()
    rest = [word for word in words if not re.fullmatch("|".join((FILLERS, GUT_ROUTE, GUT_AGENT)), word)]
    denied = [word for word in rest if re.fullmatch(NO_AGENT, word)]
    if denied and (denied[0] == words[0] or not set(rest) - {*denied, "iv"}):
        return NECT
    by_mouth = _any(GUT_ROUTE, " ".join(words)) and "iv" not in words and not re.search(SEVERAL, value)
    if by_mouth or (not rest and _any(GUT_AGENT, " ".join(words))):
        return GUT
    return CECT if rest else UNKNOWN


def _amount(keyword: str, value: str) -> str:
    if keyword == GIVEN:
        return CECT if value.upper() == "YES" else UNKNOWN
    try:
        return CECT if float(value) > 0 else UNKNOWN
    except ValueError:
        return CECT if keyword == "ContrastBolusStartTime" else UNKNOWN


def _any(pattern: str, text: str) -> bool:
    return any(re.fullmatch(pattern, word) for word in plain_text(text).split())
