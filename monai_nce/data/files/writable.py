"""Refuse a place that results cannot be written to, before there are any."""

from __future__ import annotations

import os
import tempfile
from os import PathLike
from pathlib import Path

from monai_nce.data.files.atomic import writing
from monai_nce.errors import InputError

__all__ = ["check_name", "check_writable"]

BESIDE = len(".12345678-.partial")  # what the name of a file that is not whole has beside the file's own
NAME_BYTES = 255  # of the file systems in use, where none says it


def check_writable(folder: str | PathLike[str]) -> None:
    """Try to write into a folder, or into the one it would be made in; nothing is left there.

    Raises:
        InputError: naming the folder and what the system says.
    """
    folder = Path(folder)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder}: expected a folder for the results but it is a file")
    with writing(folder):
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        for part in folder.relative_to(there).parts:
            check_name(there / part, beside=0)
        # a folder of the name may lie on a full disk or a read-only one, where access rights say nothing
        with tempfile.TemporaryFile(dir=there):
            pass


def check_name(path: str | PathLike[str], beside: int = BESIDE) -> None:
    """Refuse a file whose name the file system has no room for, with the bytes ``beside`` it that writing takes.

    Raises:
        InputError: naming the file, and how long its name may be.
    """
    path = Path(path)
    there = next(place for place in (path.parent, *path.parents) if os.path.lexists(place))
    most = (os.pathconf(there, "PC_NAME_MAX") if hasattr(os, "pathconf") else NAME_BYTES) - beside
    if (size := len(os.fsencode(path.name))) > most:
        raise InputError(
            f"{path}: cannot be written: expected a name of {most} bytes at most but got {size}; shorten it"
        )
