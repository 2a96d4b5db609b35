"""A reader's reason without what could say whose images they are."""

from __future__ import annotations

import re
from collections.abc import Iterable

from monai_nce.data.scans.found import FoundVolume

__all__ = ["without_paths"]


def without_paths(text: str, volumes: Iterable[FoundVolume]) -> str:
    """Strike out paths, names of files and identifiers.

    Args:
        text: a message of the reader's about one of the volumes.
        volumes: those that it may be about.

    Returns:
        The message, with "…" for what was struck out; a path that it began with is dropped.
    """
    whole: set[str] = set()
    names: set[str] = set()
    for volume in volumes:
        whole |= {str(path) for file in (volume.path, *volume.files) for path in (file, file.parent)}
        names |= {file.name for file in volume.files}
        names |= {volume.patient_id, volume.series_uid, volume.study_uid}
    for path in sorted(whole - {".", "/"}, key=len, reverse=True):
        text = text.replace(path, "…")
    listed = "|".join(re.escape(name) for name in sorted(names - {""}, key=len, reverse=True))
    text = re.sub(rf"(?<![\w.])(?:{listed})(?![\w.])", "…", text) if listed else text
    return re.sub(r"^…[/\w.]*: ", "", text)
