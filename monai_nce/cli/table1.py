"""Train and measure the paper's Table 1, by ``benchmarks.table1`` of a checkout."""

from __future__ import annotations

import typer

from monai_nce.cli.passed_on import run_program

__all__ = ["table1"]


def table1(context: typer.Context) -> None:
    """Train and measure the paper's Table 1 again; in a checkout of the repository alone."""
    run_program(["benchmarks.table1"], context.args, "nce table1")
