"""Show text of a DICOM header in one short line, without what tells who the patient is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

__all__ = ["clean_text", "patient_words"]

MAX_TEXT = 64  # characters, as many as DICOM allows in a description
MIN_SECRET = 3  # letters from which on a part of a name is struck out


def patient_words(header: Any) -> tuple[str, ...]:
    """List the words of a header that tell who the patient is, the longest first: name, identifier, birth date."""
    words = re.split(r"[\s^=,\\]+", str(header.get("PatientName") or ""))
    words += [str(header.get("PatientID") or ""), str(header.get("PatientBirthDate") or "")]
    return tuple(sorted((word for word in words if len(word) >= MIN_SECRET), key=len, reverse=True))


def clean_text(value: Any, secrets: Sequence[str], most: int = MAX_TEXT) -> str:
    """Return a value as one short line of printable characters, with the ``secrets`` struck out, in any case."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value or "")).split())
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return text[:most]
