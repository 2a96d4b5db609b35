"""Make data sets, and look at scans and convert them, by the data preparation's own command line."""

from __future__ import annotations

import typer

from monai_nce.cli.passed_on import run_program

__all__ = ["convert", "inspect", "prepare"]

MODULES = ("data_prep", "monai_nce.prep")


def prepare(context: typer.Context) -> None:
    """Make a data set: ct, virtual, ixi, mr-pairs, phantom, ixi-like, register; or align a scan; each has --help."""
    run_program(MODULES, context.args or ["--help"], "nce prepare")


def inspect(context: typer.Context) -> None:
    """List the scans below a path, and say which can be used and why not."""
    run_program(MODULES, ["inspect", *context.args], "nce")


def convert(context: typer.Context) -> None:
    """Write one scan as NIfTI in HU."""
    run_program(MODULES, ["convert", *context.args], "nce")
