"""List the settings of the bundle, with their defaults and what they mean."""

from __future__ import annotations

import difflib
import shutil
import textwrap
from typing import Annotated

import typer

from monai_nce.cli.run_bundle import bundle_folder
from monai_nce.errors import InputError

__all__ = ["config"]


def config(
    key: Annotated[
        str | None,
        typer.Argument(metavar="KEY", help="A key such as stage2#max_epochs, or a part of some.", show_default=False),
    ] = None,
) -> None:
    """List every setting: its key, default, what it may be and what it means.

    A setting is given as KEY=VALUE behind nce train and nce evaluate, and by --set behind nce enhance.
    """
    from monai_nce.settings.table import all_rows

    wanted = (key or "").replace("::", "#").removeprefix("--")
    parts = all_rows(bundle_folder() / "configs")
    found = {
        name: [row for row in rows if row.key == wanted] or [row for row in rows if wanted in row.key]
        for name, rows in parts.items()
    }
    if not any(found.values()):
        near = difflib.get_close_matches(wanted, {row.key for rows in parts.values() for row in rows}, 1)
        raise InputError(f"no setting is called {key}" + "".join(f"; did you mean {name}?" for name in near))
    width = shutil.get_terminal_size().columns
    for name, rows in found.items():
        if rows:
            print(f"{name}")
        for row in rows:
            print(f"  {row.key}" + (f" = {row.default}" if row.default else ""))
            print(
                textwrap.fill(
                    f"{row.meaning}; {row.expected}", width, initial_indent=" " * 6, subsequent_indent=" " * 6
                )
            )
