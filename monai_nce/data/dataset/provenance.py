"""Say in words what the weights behind a synthetic image learnt from, and what they were asked for."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai_nce.data.dataset.writer import KINDS

__all__ = ["Provenance"]

# singular, plural, and what is counted; a patient of an unpaired data set is one scan, of a paired one two
NOUNS = {
    "phantom": ("phantom", "phantoms", "patients"),
    "virtual": ("virtual patient", "virtual patients", "patients"),
    "real": ("real scan", "real scans", "scans"),
    None: ("patient", "patients", "patients"),
}
SHORT = {"phantom": "phantoms", "virtual": "virtual", "real": "real"}
NOT_SAID = "data that they do not name"
MAX_WORDS = 400  # characters, so that a DICOM header's text of 1024 has room for it
PHANTOMS_ALONE = "Weights trained on phantoms alone, and this scan is none: what they add means nothing."


@dataclass(frozen=True)
class Provenance:
    """Hold what weights were trained on, what they are used on and asked for, and say it in plain ASCII.

    Attributes:
        data: data sets, as :func:`~monai_nce.data.dataset.training_data.training_data` lists them; None where the
            weights do not say.
        scan: kind of the scan, as :func:`~monai_nce.data.dataset.kind.scan_kind` gives it.
        phase, level: of the contrast that was asked for, as in :mod:`monai_nce.contrast`; None where it was not.
        scan_hash, settings_hash: of the scan, and of weights and settings, as
            :mod:`~monai_nce.data.scans.earlier_result` gives them.
    """

    data: Sequence[Mapping[str, Any]] | None = None
    scan: str | None = None
    phase: str | None = None
    level: float | None = None
    scan_hash: str | None = None
    settings_hash: str | None = None

    @property
    def scan_mark(self) -> str:
        """Sentences by which a result is known to be this scan's and made with these settings, or nothing."""
        hashes = {"Scan": self.scan_hash, "Settings": self.settings_hash}
        return " ".join(f"{name} SHA-256: {value}." for name, value in hashes.items() if value)

    @property
    def asked(self) -> str:
        """Such as "portal, level 1.3", in at most 20 characters for a level of two decimals; empty without one."""
        level = None if self.level is None else f"level {self.level:g}"
        return ", ".join(filter(None, (self.phase, level)))

    @property
    def request(self) -> str:
        """Such as "Asked for: portal, level 1.3.", or nothing."""
        return f"Asked for: {self.asked}." if self.asked else ""

    @property
    def phantoms_alone(self) -> bool:
        """Whether weights that learnt from phantoms alone meet a scan that is none."""
        return self.scan != "phantom" and {entry.get("kind") for entry in self.data or ()} == {"phantom"}

    @property
    def warning(self) -> str:
        """A sentence for whoever looks at the image, or nothing."""
        return PHANTOMS_ALONE if self.phantoms_alone else ""

    @property
    def trained_on(self) -> str:
        """Such as "120 virtual patients (monai-nce virtual) and 3 real scans (CT, unpaired)"."""
        named = [f"{_count([entry], _kind(entry))} ({_ascii(str(entry['name']))})" for entry in self.data or ()]
        return textwrap.shorten(_listed(named), MAX_WORDS, placeholder=" ...") or NOT_SAID

    @property
    def kinds(self) -> str:
        """Such as "120 virtual patients and 3 real scans"."""
        return _listed([_count(entries, kind) for kind, entries in self._by_kind().items()]) or NOT_SAID

    @property
    def shortly(self) -> str:
        """Such as "virtual+real", in at most 21 characters; empty where the kinds are not known."""
        kinds = [kind for kind in self._by_kind() if kind in KINDS]
        return "+".join(SHORT[kind] for kind in kinds)

    def _by_kind(self) -> dict[Any, list[Mapping[str, Any]]]:
        """Group the data sets by kind, in the order of ``KINDS``."""
        groups = {kind: [one for one in self.data or () if _kind(one) == kind] for kind in (*KINDS, None)}
        return {kind: entries for kind, entries in groups.items() if entries}


def _kind(entry: Mapping[str, Any]) -> str | None:
    return entry["kind"] if entry.get("kind") in KINDS else None


def _count(entries: Sequence[Mapping[str, Any]], kind: str | None) -> str:
    one, many, counted = NOUNS[kind]
    if not all(counted in entry for entry in entries):
        return many
    total = sum(entry[counted] for entry in entries)
    return f"{total} {one if total == 1 else many}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(parts[:-1]), *parts[-1:]) if part)


def _ascii(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join("".join(character if character.isprintable() else " " for character in plain).split())
