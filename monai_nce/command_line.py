"""Find the bundle, and take what is typed behind ``python -m monai.bundle run`` as it was meant, or refuse it.

MONAI takes every ``--key value`` into the configuration, where nothing reads one that is misspelt, and ``false`` is a
word, which counts as true: a training of days would run with the value that was to be changed. Values are evaluated as
Python, by Fire: the folder ``scans #2`` becomes ``scans``, another patient's.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fire import Fire
from fire.decorators import SetParseFn
from fire.parser import SeparateFlagArgs
from monai.bundle import ConfigParser, run
from monai.bundle.reference_resolver import ReferenceResolver
from monai.bundle.utils import ID_SEP_KEY
from monai.utils import ensure_tuple

from monai_nce.bundle_folder import bundle_folder
from monai_nce.errors import InputError, is_bundle_program
from monai_nce.settings import EXPRESSIONS, SEPARATOR, check_settings, text_settings

__all__ = ["find_bundle", "read_flags", "take_settings"]

BUNDLE = Path("bundles", "nce")
OWN_FILE = Path("configs", "paper_ixi.json")  # no other bundle has one
OWN_KEY = "_"  # how the keys of MONAI itself begin, such as _target_
OF_MONAI = {*inspect.signature(run).parameters, "_meta_"}
PRESETS = ("ixi.json", "paper.json", "paper_ixi.json")  # laid over the schemes' files, in this order
CONDITIONAL = "conditional.json"
TOLD_NOTHING = (
    "single.json",
    "cycle.json",
    "joint.json",
    "registered.json",
    "registered_joint.json",
)  # schemes whose trainers know no condition
# keys of version 0.1.0, and what begins with them, by their present names; train.json holds them empty, since MONAI
# ends in a traceback at a flag with an unknown key before its last, before the bundle is asked
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
    """Find the bundle's folder: here, in the checkout that is the current folder, on the Python path, or our own."""
    folders = (Path(), BUNDLE, *map(Path, sys.path), bundle_folder())
    return str(next((folder for folder in folders if (folder / OWN_FILE).is_file()), Path()))


def take_settings() -> None:
    """Take texts as they were typed, and refuse flags and settings that cannot be, before any work.

    The second entry of ``initialize``, in each of the bundle's configurations. Flags are those of this process if it is
    ``python -m monai.bundle``; in any other program there are none, and the configuration is checked alone.

    Raises:
        InputError: as :func:`read_flags` and :func:`monai_nce.settings.check_settings` do.
    """
    parser = _parser_at_work()
    texts = read_flags(sys.argv[1:]) if is_bundle_program() else {}
    for key, text in texts.items():
        _put(parser, key, text)
    check_settings(parser.get(), texts)


def read_flags(arguments: Sequence[str]) -> dict[str, str]:
    """Refuse a flag that names no key, a word for True or False, or files in a wrong order; return what is text.

    A component (a dictionary with ``_target_``) may get keywords that the configuration leaves at their defaults, and a
    key that another value refers to may be new.

    Args:
        arguments: a command line behind ``python -m monai.bundle``.

    Returns:
        What was typed for keys whose value is text, by key.

    Raises:
        InputError: naming the flag or file and what comes nearest, what it is called now, or what was expected.
    """
    words, flags = _typed(arguments)
    if len(words) > 1:
        raise InputError(f"{words[1]}: expected a flag before it; put what belongs to one flag into quotes")
    if "args_file" in flags:  # MONAI's defaults of flags
        defaults = ConfigParser.load_config_file(flags["args_file"]).items()
        flags = {**{name: value if isinstance(value, str) else repr(value) for name, value in defaults}, **flags}
    if "config_file" not in flags:
        return {}
    files = ensure_tuple(flags["config_file"])
    with suppress(SyntaxError, ValueError):  # one file, or several written as a Python list
        files = ensure_tuple(ast.literal_eval(files[0]))
    _check_order(files)
    config = ConfigParser.load_config_files(files)
    parser = ConfigParser(config)
    _refuse_renamed([*(f"--{flag}" for flag in flags), *(old for old in RENAMED if _holds(parser.get(old)))])
    said, texts = f"{config} {list(flags.values())}", {}
    for flag, value in flags.items():
        parts = ReferenceResolver.split_id(flag)
        new_and_used = parts[0] not in config and re.search(rf"[@%]{re.escape(parts[0])}\b", said)
        if parts[0] in OF_MONAI or new_and_used:
            continue
        _check(flag, value, config)
        key = SEPARATOR.join(parts)
        if key in text_settings() or _is_text(parser, flag):
            if value in ("True", "False"):  # Fire's words for a flag without a value
                raise InputError(f"--{flag}: expected text behind it but got {value}")
            texts[key] = value
    return texts


def _typed(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Split a command line into words and flags as Fire does behind MONAI's, with nothing evaluated."""
    words: list[str] = []
    flags: dict[str, str] = {}

    def take(*given: str, **named: str) -> None:
        words.extend(given)
        flags.update(named)

    for_monai, _ = SeparateFlagArgs(list(arguments[1:]))  # the first is MONAI's command
    end = for_monai.index("-") if "-" in for_monai else None
    Fire(SetParseFn(str)(take), command=for_monai[:end])
    return words, flags


def _is_text(parser: ConfigParser, flag: str) -> bool:
    """Return whether a key's default is text, neither an expression nor MONAI's own."""
    default = parser.get(flag)
    mine = not ReferenceResolver.split_id(flag)[-1].startswith(OWN_KEY)
    return isinstance(default, str) and not default.startswith(EXPRESSIONS) and mine


def _parser_at_work() -> ConfigParser:
    """Find the parser that evaluates the expression that called: MONAI hands it to none."""
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(found := frame.f_locals.get("self"), ConfigParser):
            return found
        frame = frame.f_back
    raise RuntimeError("expected to be called by an expression of a MONAI configuration")


def _put(parser: ConfigParser, key: str, text: str) -> None:
    """Put a text into a configuration that is parsed, where MONAI would take it for an expression or change its #."""
    parts = ReferenceResolver.split_id(key)
    parent: Any = parser[ID_SEP_KEY.join(parts[:-1])]
    resolved = ID_SEP_KEY.join(parts)
    parent[int(parts[-1]) if isinstance(parent, list) else parts[-1]] = f"@{resolved}"
    parser.ref_resolver.resolved_content[resolved] = text


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


def _holds(value: Any) -> bool:
    """Return whether there is anything but empty dictionaries."""
    return any(map(_holds, value.values())) if isinstance(value, Mapping) else value is not None


def _refuse_renamed(names: Sequence[str]) -> None:
    """Refuse flags, and keys of configuration files, that nothing reads any more."""
    for name in names:
        key = ReferenceResolver.normalize_id(name).replace(ID_SEP_KEY, "#")
        for old, new in RENAMED.items():
            if f"{key}#".removeprefix("--").startswith(f"{old}#"):
                raise InputError(f"{key}: is called {key.replace(old, new, 1)} now")


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
