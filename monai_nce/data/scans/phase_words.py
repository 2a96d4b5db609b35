"""Read from a description whether a CT was taken with contrast medium, in English, German and French.

Words that deny contrast medium are known in Spanish, Italian, Portuguese and Dutch too, so that no scan without it is
taken for one with it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

__all__ = ["CECT", "NECT", "UNKNOWN", "phase_from_text", "plain_letters", "plain_text", "plain_words"]

NECT, CECT, UNKNOWN = "nect", "cect", "unknown"

# Signs and short forms that would be lost where only words are left. A hyphen before "C" is a minus only after a space.
SIGNS = (
    (r"\bi\.\s?v\b\.?", "iv"),
    (r"\bw\s?[/\\]\s?(?:o|0|out)\b|\bw-o\b|\bw\.o\.|\bwout\b", " without "),
    (r"\bw/", " with "),
    (r"\bs/(?=\s?(?:c|iv|inj))", " sans "),
    (r"(?<![a-z0-9])(?:c|iv|ce|km|inj|pdc)\s?\(\+\)|(?<![a-z0-9])(?:(?:c|iv)\s?|ce|km|inj|pdc)\+", " cplus "),
    (r"(?<![a-z0-9])(?:c|iv|ce|km|inj|pdc)\s?\(-\)|(?<![a-z0-9])(?:ce|km|inj|pdc)-(?=[\s),;_]|$)", " cminus "),
    (r"(?<![a-z0-9])(?:c|iv)\s?-(?![a-z0-9]|\s?(?:spine|ws))", " cminus "),
    (r"(?:(?<![a-z0-9])|(?<=[a-z]{3}))\+\s?(?:ce?|iv|km|contrast\w*)(?![a-z0-9])", " cplus "),
    (r"(?:^|(?<=[\s(_,]))-(?:ce?|contrast\w*)(?![a-z0-9]|\s?(?:spine|ws))", " cminus "),
    (r"'s\b", " "),
)
MEDIUM = (
    r"(?:contrast\w{0,2}|cont?r?|cntr\w*|ce|km|kontrast(?:mittel\w*)?|inj(?:ection|ekt\w*|ecte\w*)?|enh(?:anc\w*)?"
    r"|pdc|pc|ic|mdc|civ|c(?!\s(?:spine|ws|arm)\b))"
)
BETWEEN = (
    r"(?:(?:iv|i\sv|any|all|intraven\w*|intravascular\w*|oral\w*|po|or|and|nor|oder|und|ou|et|de|d|du|la|le|produit"
    r"|agent|mezzo|di|medio|medios|meio)\s)*"
)
NOT = r"(?:without|w\s?o|no|non|not|nil|minus|sans|ohne|kein\w*|nicht|pas|aucune?|absence|sin|senza|sem|zonder|s|o)"
PART = (
    r"(?:liver|leber|foie|abd\w*|kidneys?|nieren?|renal|pancreas|pelvis|chest|thorax|iv|inj\w*|km|phase|serie\w*"
    r"|\d+(?:mm)?)"
)
PLAIN = (
    rf"{NOT}\s{BETWEEN}{MEDIUM}",
    r"(?:without|wo|no|sans|ohne|kein\w*|pas|sin|senza|sem|zonder)\s(?:d\s)?iv",
    rf"{MEDIUM}\s?(?:free|frei|los)|(?:contrast|kontrast(?:mittel)?|km)(?:free|freie?[rs]?|los)",
    rf"(?:iv\s)?{MEDIUM}\s(?:none|nil|nein|keine?s?|aucune?|not\s(?:given|administered|used|applied|injected)|no$)",
    r"non\s?(?:con(?:tr?(?:ast\w*)?)?|enh(?:anc\w*)?|ce|inj\w*)|unenh\w*|uncontrasted|unkontrastiert\w*",
    r"nicht\s(?:kontrast\w*|injiz\w*)|nativ(?:e|es|er|phase|serie|scan)?|leerserie|spontanee?s?|basale?|blanco",
    r"nect|ncct|nc|plain|pr(?:e|ae)\s?(?:con(?:tr?(?:ast\w*)?)?|kontrast\w*|ce|c|enh\w*)",
    rf"pre(?=\s{PART}\b)(?:\s(?:iv|inj\w*|km))*|{PART}\spre$|^pre$",
    rf"(?:av|avant|vor|before|prior\sto)\s(?:{BETWEEN}{MEDIUM}|iv\b)",
    r"cminus|without$",
)
ENHANCED = (
    r"arterial\w*|arteriell\w*|arteriel(?:le)?s?|artere|frueharteriell|spatarteriell|portal\w*|porto\w*|pvp?",
    r"veineu(?:x|se)|ven(?:ous|os|ose|oese|oes|eux|euse)\w*|venenphase|tardi(?:f|ve)s?|delay(?:ed)?|late",
    r"spat(?:e|phase|venos\w*)?|spaet(?:e|phase)?|nephro(?:graph|gen)\w*|corticomedul\w*|excret\w*|urograph\w*",
    r"equilib\w*|parenchymal?phase|angio(?!m)\w*|cta|ctpa|post\s?con(?:tr?(?:ast\w*)?)?|enhanced|ce|cect",
    r"contrast(?:e|ed|o)?|kontrast\w*|km|civ|mdc|inject(?:e|ee|es|ion)|inj|cplus",
    rf"(?:with|w|avec|mit|nach|after|apres|post)\s(?:{BETWEEN}{MEDIUM}|iv\b)",
    rf"post(?=\s{PART}\b)|{PART}\spost$|^post$",
)
# One description of both: with and without, before and after.
LINK = r"(?:\s(?:and|und|et|puis|then|dann|or|oder|ou|u|y|e|en|plus|followed|by|gefolgt|von|ensuite))*\s(?:iv\s)?"
PAIRS = (
    (r"(?:without|wo|w\so|ohne|sans|sin|senza|sem|zonder|cminus)", r"(?:with|w|mit|avec|com|met|cplus)"),
    (r"(?:sin|senza)", r"con"),
    (r"(?:before|pre|prae|vor|avant)", r"(?:after|post|nach|apres)"),
)
BOTH = "|".join(
    (
        r"\bw\s?wo\b|\bwow\b|\b(?:m\s(?:u\s|und\s)?o|o\s(?:u\s|und\s)?m)\skm\b",
        *(rf"\b{first}{LINK}{then}\b" for pair in PAIRS for first, then in (pair, pair[::-1])),
    )
)
GUT = r"(?:oral\w*|per\sos|rectal\w*|rektal\w*|enteric|po)"
STUFF = r"(?:contrast\w*|cont?r?|km|kontrast\w*|prep\w*)"
GUT_ONLY = rf"\b(?:only|nur|seulement)\s{GUT}(?:\s{STUFF})?\b|\b{GUT}(?:\s{STUFF})?\s(?:only|nur|seulement)\b"
BESIDE = r"\b(?:(?:with|without|w|w\so|wo|no|mit|ohne|sans|avec|and|und|et|plus)\s)?"
ASIDE = (rf"{BESIDE}{GUT}\s{STUFF}\b", rf"{BESIDE}{STUFF}\s{GUT}\b")


def phase_from_text(text: str) -> str:
    """Read a description, such as ``"Abdomen portal 3.0"``, ``"Leber nativ"`` or ``"CHEST WO CON"``.

    Returns:
        ``"nect"``, ``"cect"``, or ``"unknown"`` where it says nothing, or both. Contrast medium in the gut alone is
        none.
    """
    words = plain_text(text)
    words, gut_only = re.subn(GUT_ONLY, " ", words)
    for aside in ASIDE:
        words = plain_words(re.sub(aside, " ", words))
    if re.search(BOTH, words):
        return UNKNOWN
    rest, plain = re.subn(_any(PLAIN), " ", words)
    enhanced = re.search(_any(ENHANCED), rest)
    if bool(plain or gut_only) == bool(enhanced):
        return UNKNOWN
    return CECT if enhanced else NECT


def plain_text(text: str) -> str:
    """Return lower case without accents, signs such as ``C+`` and ``w/o`` as words, words apart by single spaces."""
    text = plain_letters(text).replace("_", " ")
    for sign, word in SIGNS:
        text = re.sub(sign, word, text)
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
