"""``nce doctor``: tell whether everything is there, what inference would use, and how fast it will be."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from monai_nce.weights_store import DEFAULT

__all__ = ["doctor"]

COLOURS = {"ok": "green", "warning": "yellow", "missing": "red"}


def doctor(
    weights: Annotated[str, typer.Option(metavar="NAME|PATH", help="Weights to measure the speed with.")] = DEFAULT,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Measure how fast inference is.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for a program.")] = False,
) -> None:
    """Check packages, processor, GPU, DICOM decoders, disk, memory and weights, and measure the speed of inference.

    Exit status 1 if something is missing; a warning is none.
    """
    from functools import partial

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from monai_nce.cli.machine_checks import CHECKS, MISSING, check_speed, findings

    checks = dict(CHECKS)
    if speed:
        checks["inference"] = partial(check_speed, weights)
    console = Console(stderr=as_json)
    with console.status("looking", spinner="line"):  # on a terminal alone
        found = list(findings(checks))
    if as_json:
        print(json.dumps([one._asdict() for one in found], indent=2))
    else:
        table = Table.grid(padding=(0, 2))
        for name, status, text in found:
            table.add_row(Text(status, COLOURS[status]), Text(name), Text(text, overflow="fold"))
        console.print(table)
    raise typer.Exit(int(any(one.status == MISSING for one in found)))
