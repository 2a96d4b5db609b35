"""Options that several commands share."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from monai_nce.errors import InputError

__all__ = ["AsJson", "Device", "DryRun", "JSONLines", "Jobs", "OutputDir", "Quiet", "Set", "Settings", "as_settings"]


def _check_device(name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"--device: expected cpu, cuda or cuda:N but got {name}")
    return name


def as_settings(given: list[str]) -> dict[str, str]:
    """Split settings of the form ``KEY=VALUE``.

    Raises:
        InputError: for one of another form.
    """
    for one in given:
        if not re.match(r"[A-Za-z_]\w*((#|::)\w+)*=", one):
            raise InputError(f"{one}: expected KEY=VALUE, such as seed=1; nce config lists the keys")
    return dict(one.split("=", 1) for one in given)


OutputDir = Annotated[str, typer.Option("--output-dir", "-o", metavar="DIR", help="Folder of the results.")]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", callback=_check_device, help="cpu, cuda or cuda:N. Default: a GPU if there is one."),
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes that share the work.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results, warnings and errors alone.")]
JSONLines = Annotated[
    bool, typer.Option("--json", help="Write progress and results as a JSON object a line on stdout, for programs.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the command that would be run, and end.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other setting; nce config lists them. May be repeated."),
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Any other settings; nce config lists them.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program.")]
