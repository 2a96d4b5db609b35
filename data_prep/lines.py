"""What goes to a terminal: few lines, each of them one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["MAX_LINES", "one_line", "say"]

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
