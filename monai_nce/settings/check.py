"""Compare settings with their schema, and refuse in one line what cannot be."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.validators import extend

from monai_nce.errors import InputError
from monai_nce.settings.schema import SEPARATOR, Schema, leaves, load_schema, setting, words

__all__ = ["EXPRESSIONS", "check_settings", "parse_number", "text_settings"]

EXPRESSIONS = ("$", "@", "%")  # how MONAI's expressions, references and copies begin
LEFT_OUT = object()


def _is_number(_: Any, value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


def _is_integer(_: Any, value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Integral)


# JSON Schema takes 2.0 for an integer and NaN for a number of any range
KINDS = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": _is_integer, "number": _is_number})
FORMATS = FormatChecker(formats=())


@FORMATS.checks("device")
def _is_device(value: Any) -> bool:
    """Return whether PyTorch has a device; what is no text is taken, as an expression gives it."""
    if not isinstance(value, str):
        return True
    import torch  # here, since it takes seconds

    try:
        device = torch.device(value)
    except RuntimeError:
        return False
    there = {"cpu": 1, "cuda": torch.cuda.device_count()}.get(device.type)
    return there is None or (device.index or 0) < there


@cache
def text_settings() -> frozenset[str]:
    """Return the keys of the settings that are text, such as names of files."""
    return frozenset(key for key, schema in leaves() if schema.get("type") == "string" or "enum" in schema)


def check_settings(config: Mapping[str, Any], typed: Mapping[str, str] | None = None) -> None:
    """Refuse a configuration with a setting that is of another kind, or out of range.

    Expressions, references and what the schema does not name are left alone: what they come to shows later.

    Args:
        config: settings, nested.
        typed: texts in their place, by key; others may have lost a ``#``, which MONAI's parser makes ``::``.

    Raises:
        InputError: naming the first such setting, what is expected, and what was got.
    """
    typed, values = typed or {}, _values(config)
    for key in text_settings():
        *parents, name = key.split(SEPARATOR)
        place = values
        for part in parents:
            place = place.get(part) if isinstance(place, Mapping) else None
        if not isinstance(place, dict):
            continue
        if key in typed:
            place[name] = typed[key]
        elif isinstance(text := place.get(name), str) and "::" in text and not os.path.exists(text):
            raise InputError(
                f"{key}: expected text without # or ::, which MONAI's parser does not tell apart, got {text}"
            )
    for error in _whole().iter_errors(values):
        key = SEPARATOR.join(map(str, error.absolute_path))
        raise InputError(f"{key}: expected {words(error.schema)} but got {_shown(error.instance)}")


def parse_number(key: str, text: str) -> float:
    """Read a setting that is a number from a command line.

    Raises:
        InputError: if it is none, or out of range.
    """
    schema = setting(key)
    try:
        value = int(text) if schema["type"] == "integer" else float(text)
    except ValueError:
        value = math.nan
    if not _validator(schema).is_valid(value):
        raise InputError(f"expected {words(schema)} but got {text}")
    return value


@cache
def _whole() -> Draft202012Validator:
    return _validator(load_schema())


def _validator(schema: Schema) -> Draft202012Validator:
    return extend(Draft202012Validator, type_checker=KINDS)(schema, format_checker=FORMATS)


def _values(config: Any) -> Any:
    """Return the values that are none of MONAI's expressions, as JSON has them: a path is text, a tuple a list."""
    if isinstance(config, str):
        return LEFT_OUT if config.startswith(EXPRESSIONS) else config
    if isinstance(config, os.PathLike):
        return os.fspath(config)
    if isinstance(config, Mapping):
        values = {str(key): _values(value) for key, value in config.items()}
        return {key: value for key, value in values.items() if value is not LEFT_OUT}
    if isinstance(config, (list, tuple)):
        items = [_values(item) for item in config]
        return LEFT_OUT if any(item is LEFT_OUT for item in items) else items
    return config


def _shown(value: Any) -> str:
    return "nothing" if value is None or value == "" else repr(value)
