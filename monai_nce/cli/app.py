"""Run ``nce``, the command line.

Each command is a function in the module of this package that has its name. Those modules import nothing but the
standard library and Typer at their top, so that help and completion answer at once; what takes longer is imported, or
started as a process, when a command runs.

Exit statuses: 0 done; 1 a fault that was not expected; 2 wrong input or a full disk, said in one line; 3 some volumes
were left out; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer import Abort, Exit

import monai_nce
from monai_nce.cli.bundle import bundle
from monai_nce.cli.compare import compare
from monai_nce.cli.config import config
from monai_nce.cli.demo import demo
from monai_nce.cli.doctor import doctor
from monai_nce.cli.enhance import enhance
from monai_nce.cli.evaluate import evaluate
from monai_nce.cli.node import node
from monai_nce.cli.passed_on import PassedOn
from monai_nce.cli.prepare import convert, inspect, prepare
from monai_nce.cli.report import report
from monai_nce.cli.study import study
from monai_nce.cli.table1 import table1
from monai_nce.cli.train import train
from monai_nce.cli.weights import weights
from monai_nce.errors import INTERRUPTED, WRONG_INPUT, InputError, find_input_error

__all__ = ["app", "main"]

app = typer.Typer(
    name="nce",
    help="Synthetic contrast-enhanced CT from a non-contrast CT. Research use only.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.command()(enhance)
for passed_on in (prepare, inspect, convert, table1):
    app.command(cls=PassedOn)(passed_on)
app.command()(train)
app.command()(evaluate)
app.command()(demo)
app.command()(config)
app.command()(compare)
app.command()(report)
app.command()(bundle)
app.add_typer(weights, name="weights")
app.add_typer(study, name="study")
app.command()(node)
app.command()(doctor)


def _tell_version(wanted: bool) -> None:
    if wanted:
        print(f"monai-nce {monai_nce.__version__}")
        raise Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options in front of a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, that of the process if none is given, and return its exit status."""
    command = typer.main.get_command(app)
    try:
        done = command.main(args=None if arguments is None else list(arguments), prog_name="nce", standalone_mode=False)
    except Abort:  # Ctrl-C
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if hasattr(error, "format_message"):  # an option or argument that cannot be; empty where help was shown instead
            text = error.format_message()
        elif (cause := find_input_error(error)) is not None:
            from monai_nce.cli.program import spelt

            text = spelt(str(cause))
        else:
            raise
        if text:
            from monai_nce.terminal import tell_event

            print(f"error: {InputError(text)}", file=sys.stderr)
            tell_event("error", message=str(InputError(text)))
        return WRONG_INPUT
    return done if isinstance(done, int) else 0
