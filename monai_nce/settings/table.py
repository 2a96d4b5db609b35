"""Lay out the documentation's table of settings.

python -m monai_nce.settings.table bundles/nce/configs > docs/settings.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from monai_nce.settings.check import EXPRESSIONS
from monai_nce.settings.schema import SEPARATOR, leaves, load_schema, words

__all__ = ["Row", "all_rows", "setting_rows", "settings_page", "settings_table"]

COMMANDS = {
    "Training": ("train.json",),
    "What overlays add": (
        "train.json",
        "cycle.json",
        "regression.json",
        "registered.json",
        "registered_joint.json",
        "conditional.json",
        "federated_stage2.json",
    ),
    "Evaluation": ("train.json", "evaluate.json"),
    "Inference": ("inference.json",),
}
HEAD = """# Settings

Every command checks its settings with one schema before any work, `monai_nce/settings/schema.json`, which this page is
made of. What is of another kind or out of range ends in one line. Each key is a flag, as in `--stage2#max_epochs 10`,
and may stand in a configuration file. One without a default follows from others, or is read from the weights' file.

A text is taken as it is typed, whatever signs are in it; only a name that begins with `%` is MONAI's before the bundle
is asked, and is written `./%name`. For all other settings MONAI's expressions are taken too: `--seed "$40 + 2"`.
"""
DATA_PREP = """
Options of `python -m data_prep`, of whose commands each has some, and says their defaults (`--help`).

"""


class Row(NamedTuple):
    """What is to be said of one setting; an empty default follows from others, or from the weights' file."""

    key: str
    default: str
    expected: str
    meaning: str


def setting_rows(config: Mapping[str, Any], without: Mapping[str, Any] | None = None) -> Iterator[Row]:
    """List the settings that a configuration has, and another one has not."""
    for key, schema in leaves():
        parts = key.split(SEPARATOR)
        if _has(config, parts) and not _has(without or {}, parts):
            yield Row(key, _shown(_get(config, parts)), words(schema), schema["description"])


def all_rows(configs: Path) -> dict[str, list[Row]]:
    """List all settings by what they are for; the bundle's configuration files lie in ``configs``."""
    train, overlaid, evaluate, infer = (_laid_over(configs / file for file in files) for files in COMMANDS.values())
    rows = (setting_rows(train), *(setting_rows(each, train) for each in (overlaid, evaluate)), setting_rows(infer))
    return {name: list(part) for name, part in zip(COMMANDS, rows, strict=True)}


def settings_table(rows: Iterable[Row]) -> str:
    """Lay out settings in Markdown."""
    lines = ["| key | default | expected | meaning |", "| --- | --- | --- | --- |"]
    for row in rows:
        default = f"`{row.default}`" if row.default not in ("", "none") else row.default
        lines.append(f"| `{row.key}` | {default} | {row.expected} | {row.meaning} |")
    return "\n".join(lines) + "\n"


def settings_page(configs: Path) -> str:
    """Lay out the page of all settings; the bundle's configuration files lie in ``configs``."""
    page = HEAD + "".join(f"\n## {name}\n\n{settings_table(rows)}" for name, rows in all_rows(configs).items())
    rows = [
        f"| `--{key}` | {words(schema)} | {schema['description']} |"
        for key, schema in leaves(load_schema()["properties"]["data_prep"])
    ]
    lines = ["| option | expected | meaning |", "| --- | --- | --- |", *rows]
    return f"{page}\n## Data preparation\n{DATA_PREP}" + "\n".join(lines) + "\n"


def _laid_over(files: Iterable[Path]) -> dict[str, Any]:
    """Lay configuration files over each other, as MONAI does whose import takes seconds; lists stay the last one's."""
    config: dict[str, Any] = {}
    for file in files:
        for key, value in json.loads(file.read_text(encoding="utf-8")).items():
            *parents, name = key.removeprefix("+").split(SEPARATOR)
            place: Any = config
            for parent in parents:
                place = place[int(parent) if isinstance(place, list) else parent]
            if key.startswith("+") and isinstance(value, Mapping):
                place[int(name) if isinstance(place, list) else name].update(value)
            else:
                place[name] = value
    return config


def _has(config: Any, parts: list[str]) -> bool:
    for part in parts:
        if not isinstance(config, Mapping) or part not in config:
            return False
        config = config[part]
    return True


def _get(config: Any, parts: list[str]) -> Any:
    for part in parts:
        config = config[part]
    return config


def _shown(value: Any) -> str:
    if isinstance(value, str) and value.startswith(EXPRESSIONS):
        return ""
    return "none" if value is None or value in ("", {}, []) else str(value)


if __name__ == "__main__":
    print(settings_page(Path(sys.argv[1])), end="")
