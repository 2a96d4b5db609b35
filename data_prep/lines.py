"""What goes to a terminal: few lines, each of them one line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tqdm import tqdm

__all__ = ["MAX_LINES", "Lines", "one_line", "say"]

MAX_LINES = 20


def one_line(text: object) -> str:
    """A text without line breaks and control characters, which a file's name may have.

    Args:
        text: anything.
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def say(lines: Sequence[str]) -> None:
    """Print lines on stderr, at most twenty, the last of which counts those left out."""
    shown = list(lines) if len(lines) <= MAX_LINES else list(lines[: MAX_LINES - 1])
    if len(shown) < len(lines):
        shown.append(f"... and {len(lines) - len(shown)} lines more")
    for line in shown:
        print(one_line(line), file=sys.stderr)


class Lines:
    """Lines on stderr that come bit by bit, beside a progress bar or not: the first twenty, and in the end a count.

    Args:
        rest: where those that are not shown can be read.
    """

    def __init__(self, rest: object) -> None:
        self.rest, self.count = rest, 0

    def add(self, lines: Iterable[str]) -> None:
        """Args: lines: to show."""
        for line in lines:
            self.count += 1
            if self.count <= MAX_LINES:
                tqdm.write(one_line(line), file=sys.stderr)

    def close(self) -> None:
        """Say how many were not shown."""
        if self.count > MAX_LINES:
            print(f"... and {self.count - MAX_LINES} lines more, see {self.rest}", file=sys.stderr)
