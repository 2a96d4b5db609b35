"""Print messages and progress bars on stderr: few lines, nothing that breaks a line, no patient data in reports."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from tqdm import tqdm

from monai_nce import terminal
from monai_nce.data.scans.found import FoundVolume

__all__ = ["MAX_LINES", "MessageLog", "one_line", "progress_bar", "redact", "say", "warn_of_empty_splits"]

MAX_LINES = 20
Item = TypeVar("Item")


def one_line(text: object) -> str:
    """Replace line breaks and control characters, which a file's name may have."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def say(*lines: object) -> None:
    """Print lines on stderr, above any progress bar: at most twenty, the last of which counts those left out."""
    log = MessageLog("", MAX_LINES if len(lines) <= MAX_LINES else MAX_LINES - 1)
    log.add(lines)
    log.close()


class MessageLog:
    """Print the first lines of many as they come, and in the end the number of the others.

    Args:
        rest: where those that are not shown can be read; empty if nowhere.
        most: lines that are shown.
    """

    def __init__(self, rest: str, most: int = MAX_LINES) -> None:
        self.rest, self.most, self.count = f", see {rest}" if rest else "", most, 0

    def add(self, lines: Iterable[object]) -> None:
        """Print lines, above any progress bar."""
        for line in lines:
            self.count += 1
            if self.count <= self.most:
                tqdm.write(one_line(line), file=sys.stderr)

    def close(self) -> None:
        """Print how many lines were not shown."""
        if self.count > self.most:
            tqdm.write(f"... and {self.count - self.most} lines more{self.rest}", file=sys.stderr)


def progress_bar(items: Iterable[Item], name: str, unit: str, show: bool | None = True, **more: int) -> tqdm[Item]:
    """Iterate with a progress bar.

    ``show`` None means on a terminal only, and gone at the end. ``total`` and ``initial`` are those of
    :func:`monai_nce.terminal.progress_bar`.
    """
    return terminal.progress_bar(items, name=name, unit=unit, show=show is not False, passing=show is None, **more)


def warn_of_empty_splits(splits: Mapping[str, Sequence[str]], names: Iterable[str], people: str = "patients") -> None:
    """Print a notice for each of the named splits that is empty."""
    say(*(f"notice: too few {people} for a {name} split; it is empty" for name in names if not splits[name]))


def redact(text: str, volumes: Iterable[FoundVolume]) -> str:
    """Replace the volumes' paths, files' names and identifiers in a message by "…"; a path at its start is dropped."""
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
