"""Find the bundle, and refuse flags of ``python -m monai.bundle run`` that would be ignored or misunderstood.

MONAI takes every ``--key value`` into the configuration, where nothing reads one that is misspelt, and ``false`` is a
word, which counts as true: a training of days would run with the value that was to be changed.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, run
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY
from monai.utils import ensure_tuple

from monai_nce.errors import InputError, is_bundle_program

__all__ = ["find_bundle", "refuse_unknown_flags"]

BUNDLE = Path("bundles", "nce")
OWN_FILE = Path("configs", "paper_ixi.json")  # no other bundle has one
EXPRESSIONS = ("$", "@", "%")
OF_MONAI = {*inspect.signature(run).parameters, "_meta_"}
PRESETS = ("ixi.json", "paper.json", "paper_ixi.json")  # laid over the schemes' files, in this order
CONDITIONAL = "conditional.json"
TOLD_NOTHING = ("single.json", "cycle.json", "joint.json")  # schemes whose trainers know no condition
# keys of version 0.1.0, and what begins with them, by their present names
RENAMED = {
    "classify": "classifier",
    "classifier_def": "domain_classifier_def",
    **{
        f"train#{key}": f"stage2#{key}"
        for key in ("max_epochs", "optimizer", "lr_scheduler", "loss", "perceptual_loss", "log")
    },
    "in_plane_size": "phantom#size",
}


def find_bundle() -> str:
    """Find the bundle's folder: here, in the checkout that is the current folder, on the Python path, or in its own."""
    checkout = Path(__file__).parents[1]
    folders = (Path(), BUNDLE, *map(Path, sys.path), checkout / BUNDLE)
    return str(next((folder for folder in folders if (folder / OWN_FILE).is_file()), Path()))


def refuse_unknown_flags(arguments: Sequence[str] | None = None) -> None:
    """Stop at a flag that names no key of the configuration, a word for True or False, or files in a wrong order.

    For a bundle's run list, before anything is written.

    A component (a dictionary with ``_target_``) may get keywords that the configuration leaves at their defaults, and a
    key that another value refers to may be new. The command line is that of the process if no ``arguments`` are given;
    does nothing in any other program, as its keys need not be flags.

    Raises:
        InputError: naming the flag or file and what comes nearest, what it is called now, or what was expected.
    """
    if arguments is None:
        if not is_bundle_program():
            return
        arguments = sys.argv[1:]
    flags = dict(_flags(arguments))
    if "config_file" not in flags:
        return
    files = ensure_tuple(flags["config_file"])
    with suppress(SyntaxError, ValueError):  # one file, or several written as a Python list
        files = ensure_tuple(ast.literal_eval(files[0]))
    _check_order(files)
    config = ConfigParser.load_config_files(files)
    parser = ConfigParser(config)
    _refuse_renamed([*(f"--{flag}" for flag in flags), *(old for old in RENAMED if old in parser)])
    said = f"{config} {list(flags.values())}"
    for flag, value in flags.items():
        first = ReferenceResolver.split_id(flag)[0]
        new_and_used = first not in config and re.search(rf"[@%]{re.escape(first)}\b", said)
        if first not in OF_MONAI and not new_and_used:
            _check(flag, value, config)


def _check_order(files: Sequence[str]) -> None:
    """Refuse a scheme after a preset, whose settings it would undo, and files that do not go with each other."""
    names = [Path(file).name for file in files]
    for scheme in set(TOLD_NOTHING) & set(names) if CONDITIONAL in names else ():
        raise InputError(f"{CONDITIONAL}: expected separate training, regression.json or oracle.json but got {scheme}")
    for position, name in enumerate(names):
        before = [preset for preset in PRESETS if preset in names[:position]]
        if before and "method" in ConfigParser.load_config_file(files[position]):
            raise InputError(f"{name}: put it before {before[0]}, whose settings it would undo")
        if name == "paper_ixi.json" and "paper.json" not in before:
            raise InputError("paper_ixi.json: put paper.json before it, which holds the networks and learning rates")


def _refuse_renamed(names: Sequence[str]) -> None:
    """Refuse flags, and keys of configuration files, that nothing reads any more."""
    for name in names:
        key = ReferenceResolver.normalize_id(name).replace(ID_SEP_KEY, "#")
        for old, new in RENAMED.items():
            if f"{key}#".removeprefix("--").startswith(f"{old}#"):
                raise InputError(f"{key}: is called {key.replace(old, new, 1)} now")


def _flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names and values as Fire, behind MONAI's command line, takes them: without a value it is True."""
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=True):
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            alone = "True" if following.startswith("--") else following
            yield name.replace("-", "_"), value if equals else alone


def _check(flag: str, value: str, config: Mapping[str, Any]) -> None:
    """Follow a flag into the configuration as far as there are keys to choose from, and look at what is there."""
    node: Any = config
    parts = ReferenceResolver.split_id(flag)
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping):
            return  # a list, or an expression, of which MONAI itself says what is wrong
        if part not in node:
            if "_target_" in node and depth == len(parts) - 1:
                return
            near = difflib.get_close_matches(part, node, 1)
            meant = f"; did you mean --{'#'.join([*parts[:depth], *near, *parts[depth + 1 :]])}?" if near else ""
            raise InputError(f"--{flag}: the configuration has no key {'#'.join(parts[: depth + 1])}{meant}")
        node = node[part]
    if isinstance(node, bool) and value not in ("True", "False") and not value.startswith(EXPRESSIONS):
        raise InputError(f"--{flag}: expected True or False but got {value}")
