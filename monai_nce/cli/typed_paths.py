"""Write paths so that they reach the bundle as they are, through Fire, MONAI's parser and the bundle's own patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence

from monai_nce.errors import InputError

__all__ = ["typed_inputs", "typed_path"]

WORDS = ("True", "False")  # of Fire, for a flag without a value
RELATIVE_ID = re.compile(r"([@%])(?=#|::)")  # MONAI replaces it wherever it stands in a text


def typed_path(path: str) -> str:
    """Write a path as the value of a flag.

    Raises:
        InputError: for none, which stands for a default, and for one that MONAI's parser would change.
    """
    if not path:
        raise InputError("expected a path but got nothing")
    if RELATIVE_ID.search(path):
        raise InputError(f"{path}: expected a name without @#, %#, @:: and %::, which MONAI's parser replaces")
    return _plain(path)


def typed_inputs(inputs: Sequence[str]) -> str:
    """Write what is to be enhanced as the value of ``--input``: paths and patterns, which the bundle lists.

    Raises:
        InputError: naming what is not there.
    """
    for one in inputs:
        if not (os.path.lexists(one) or (glob.has_magic(one) and glob.glob(one, recursive=True))):
            raise InputError(f"{one}: no such file or folder")
    plain = [_plain(RELATIVE_ID.sub(r"[\1]", _pattern(one)) if RELATIVE_ID.search(one) else one) for one in inputs]
    if len(plain) == 1 and not plain[0].startswith("["):
        return plain[0]
    text = repr(plain)
    while os.path.lexists(text):  # taken for a file of that name
        text = text.replace("[", "[ ", 1)
    return text


def _pattern(one: str) -> str:
    """Write a path as the pattern that fits it alone."""
    return glob.escape(one) if os.path.lexists(one) else one


def _plain(path: str) -> str:
    """Begin a relative path with ``./`` where its first sign or the whole means something else."""
    return path if re.match(r"[\w./]", path) and path not in WORDS else os.path.join(".", path)
