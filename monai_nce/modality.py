"""Tell a domain's modality by its name."""

from __future__ import annotations

__all__ = ["CT", "MR", "modality_of"]

CT, MR = "CT", "MR"


def modality_of(domain: str) -> str:
    """Return "CT" for domains such as NECT and CECT, "MR" for others such as T2 and PD."""
    return CT if "CT" in domain.upper() else MR
