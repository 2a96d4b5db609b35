"""Command line of the data preparation.

Bad input gives one line on stderr and exit code 2, a failing disk the same with exit code 1; in both cases nothing of
a data set is left behind. ``inspect`` and ``convert`` have exit codes of their own.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError
from monai_nce.phantom.dataset import write_phantom_dataset

from . import align, convert, ct, inspect, ixi, ixi_like, mr_pairs, register, virtual
from .arguments import add_number, add_output, spell
from .commands import training_command
from .messages import say

SHARED = ("inspect", "ct")  # their work is spread over the processes that torchrun starts


class Parser(argparse.ArgumentParser):
    """Refuse wrong options in one line, as wrong input is refused; ``--help`` has the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message.removeprefix("argument "))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command, that of the process if no arguments are given, and return its exit code."""
    name = os.environ.get("NCE_PROGRAM", f"python -m {__package__}")  # nce says what it calls it
    parser = Parser(prog=name, description="Make a data set for monai-nce.")
    commands = parser.add_subparsers(dest="command", required=True)
    phantom = commands.add_parser(
        "phantom", help="synthetic abdomens, no patient data needed", description="Make a phantom data set."
    )
    add_output(phantom)
    add_number(phantom, "--patients", 24, "how many")
    add_number(phantom, "--size", 128, "in-plane size", metavar="PX")
    add_number(phantom, "--slices", 32, "per volume")
    phantom.set_defaults(run=write_phantom_dataset)
    for module in (virtual, inspect, convert, ct, ixi, ixi_like, mr_pairs, register, align):
        module.add_parser(commands)
    try:
        options = vars(parser.parse_args(spell(sys.argv[1:] if arguments is None else arguments)))
    except InputError as error:
        say(f"error: {error}")
        return 2
    if options.pop("command") not in SHARED and not is_main_process():
        return 0  # of several processes the first alone has something to do
    message = ""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            done = options.pop("run")(**options)
        except (InputError, OSError) as error:
            done, message = 2 if isinstance(error, InputError) else 1, f"error: {error}"
    if message:  # only now are the error's frames gone, and with them a bar that the line would run into
        say(message)
    elif isinstance(done, Path) and is_main_process():
        print(f"next: {training_command(done)}")
    return done if isinstance(done, int) else 0


def _show_warning(message: Warning | str, *details: Any, **more: Any) -> None:
    say(f"warning: {message}")


if __name__ == "__main__":
    sys.exit(main())
