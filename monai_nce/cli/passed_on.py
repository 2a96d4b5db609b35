"""Pass everything behind a command on to another program of the project."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from monai_nce.cli.run_bundle import run_command
from monai_nce.errors import InputError

__all__ = ["PROGRAM", "PassedOn", "run_program"]

PROGRAM = "NCE_PROGRAM"  # environment variable: what a program calls itself in its help


class PassedOn(TyperCommand):
    """Take all arguments as they stand, ``--help`` and ``--`` among them, as the context's ``args``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return ctx.args


def run_program(modules: Sequence[str], arguments: Sequence[str], name: str) -> None:
    """Become ``python -m`` the first of some modules that there is: in a checkout, or in this package.

    Args:
        modules: their dotted names.
        arguments: what is typed behind it.
        name: what it is called in its own help.

    Raises:
        InputError: if none is there.
    """
    for module in modules:
        inside = module.startswith("monai_nce.")
        if not inside and (root := _checkout(module)) is not None:
            os.environ["PYTHONPATH"] = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
            break
        if inside and importlib.util.find_spec(module) is not None:
            break
    else:
        raise InputError(f"{name}: {modules[0]} is part of the repository, not of the package: run it in a checkout")
    os.environ[PROGRAM] = name
    run_command([sys.executable, "-m", module, *arguments])


def _checkout(module: str) -> Path | None:
    """Return the checkout that holds a module: the one of this package, or the current folder."""
    package = module.split(".")[0]
    roots = (Path(__file__).parents[2], Path.cwd())
    return next((root for root in roots if (root / package).is_dir() and (root / "bundles" / "nce").is_dir()), None)
