"""Show how far long work is and what came of it: to a person, in a log, or to a program.

``NCE_OUTPUT`` says to whom: ``quiet`` shows results, warnings and errors alone, ``json`` writes a JSON object a line on
stdout and all else on stderr. Without it a terminal gets bars, and a log or a pipe now and then a line.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.auto import tqdm as auto_tqdm

__all__ = ["GO_ON", "JSON", "OUTPUT", "QUIET", "go_on", "progress_bar", "tell_event", "tell_result", "use_output"]

OUTPUT, GO_ON = "NCE_OUTPUT", "NCE_GO_ON"  # environment variables
QUIET, JSON = "quiet", "json"
LOG_COLUMNS = 80
LOG_LINE = "{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
LOG_SECONDS, JSON_SECONDS, TERMINAL_SECONDS = 15.0, 1.0, 0.5  # between two lines, or two states of a bar, at least
IN_NOTEBOOK = any(base.__module__ == "tqdm.notebook" for base in auto_tqdm.__mro__)
Item = TypeVar("Item")


class LineBar(tqdm):
    """Print a line on stderr each time that a bar would move, none at its start and one at its end."""

    told = 0
    disable: bool

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        if msg is None and self.n > max(self.told, self.initial):
            self.told = self.n
            self.tell()
        return True

    def tell(self) -> None:
        line = str(self).rstrip()
        if len(line) > LOG_COLUMNS:
            line = line[: LOG_COLUMNS + 1].rpartition(" ")[0]
        print(line, file=self.fp, flush=True)

    def clear(self, nolock: bool = False) -> None:
        """Leave lines that were printed."""

    def close(self) -> None:
        if not self.disable:
            self.display()
            self.disable = True
            self._decr_instances(self)


class JSONBar(LineBar):
    """Print a JSON object in place of a line."""

    def tell(self) -> None:
        state = self.format_dict
        rate = state["rate"] or (self.n - self.initial) / max(state["elapsed"], 1e-9)
        left = None if not self.total or not rate else round((self.total - self.n) / rate, 1)
        facts = {"name": self.desc.removesuffix(": "), "done": self.n, "total": self.total, "unit": self.unit}
        tell_event("progress", **facts, seconds=round(state["elapsed"], 1), seconds_left=left, state=self.postfix or "")


def progress_bar(
    items: Iterable[Item] | None = None,
    *,
    name: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    show: bool = True,
    passing: bool = False,
) -> tqdm:
    """Make a bar with the time left; it is iterated over, or moved by its ``update``.

    Args:
        items: to go through.
        name, unit: of the work, and of one item.
        total: number of items, where they do not tell.
        initial: items that were done before.
        show: False for none at all, as on processes other than the first.
        passing: clear it in the end, and write nothing of it into a log.
    """
    output, terminal = os.environ.get(OUTPUT), sys.stderr.isatty() or IN_NOTEBOOK
    hide = not show or output == QUIET or (passing and output != JSON and not terminal)
    more: dict[str, Any] = {"total": total, "initial": initial, "desc": name, "unit": unit, "disable": hide}
    if output == JSON:
        return JSONBar(items, **more, mininterval=JSON_SECONDS)
    if terminal or hide:
        return auto_tqdm(items, **more, leave=not passing, dynamic_ncols=True, mininterval=TERMINAL_SECONDS)
    line = LineBar(items, **more, mininterval=LOG_SECONDS)
    line.bar_format = LOG_LINE if line.total else None
    return line


def tell_result(text: str, **facts: Any) -> None:
    """Print what came of the work: a text, or the facts for a program."""
    if os.environ.get(OUTPUT) == JSON:
        tell_event("result", **facts)
    else:
        with tqdm.external_write_mode():
            print(text, file=sys.__stdout__ if os.environ.get(OUTPUT) else sys.stdout, flush=True)


def tell_event(event: str, **facts: Any) -> None:
    """Print a JSON object in one line, if a program listens."""
    if os.environ.get(OUTPUT) == JSON:
        who = {"process": int(os.environ.get("RANK", "0"))} if os.environ.get("WORLD_SIZE", "1") != "1" else {}
        line = json.dumps({"event": event, **who, **facts}, ensure_ascii=False, default=str)
        print(f"{line}\n", end="", file=sys.__stdout__, flush=True)  # in one piece, as others may write too


def use_output() -> None:
    """Keep notes away, for the rest of this process, from a program's JSON and from a person who wants none."""
    output = os.environ.get(OUTPUT)
    if output == JSON:
        sys.stdout = sys.stderr
    elif output == QUIET:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for good


def go_on(flag: str) -> str:
    """Say how interrupted work is taken up: by the flag, or by the command that ``nce`` says it is."""
    command = os.environ.get(GO_ON)
    return f"go on with: {command}" if command else f"go on with {flag}"
