"""Read the schema of the settings, and say in words what it expects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["SEPARATOR", "Schema", "leaves", "load_schema", "setting", "words"]

SEPARATOR = "#"  # between the keys of nested settings
NAMES = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "True or False",
    "string": "text",
    "array": "a list",
    "object": "a dictionary",
    "null": "none",
}
Schema = Mapping[str, Any]


@cache
def load_schema() -> Schema:
    """Read the JSON Schema, with each reference to a definition replaced by what it refers to and what stands by it."""
    schema = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    definitions = schema.pop("$defs")

    def expanded(node: Any) -> Any:
        if isinstance(node, list):
            return [expanded(item) for item in node]
        if not isinstance(node, dict):
            return node
        name = node.get("$ref", "").rpartition("/")[2]
        own = {key: expanded(value) for key, value in node.items() if key != "$ref"}
        return {**expanded(definitions[name]), **own} if name else own

    loaded: Schema = expanded(schema)
    return loaded


def leaves(schema: Schema | None = None, key: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield each setting's key and schema; that of a dictionary with named keys only stands for its keys."""
    schema = load_schema() if schema is None else schema
    if "properties" not in schema:
        yield key, schema
    for name, part in schema.get("properties", {}).items():
        yield from leaves(part, f"{key}{SEPARATOR}{name}" if key else name)


def setting(key: str) -> Schema:
    """Return the schema of one setting."""
    return dict(leaves())[key]


def words(schema: Schema) -> str:
    """Say what a schema expects, such as "a whole number, 1 or more"."""
    if "expected" in schema:
        return str(schema["expected"])
    if "enum" in schema:
        *names, last = ["none" if value is None else str(value) for value in schema["enum"]]
        return f"{', '.join(names)} or {last}"
    kinds = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    named = [NAMES[kind] for kind in kinds if kind != "null"]
    if schema.get("not") == {"multipleOf": 2}:
        named = [name.replace("a whole", "an odd whole") for name in named]
    said = " or ".join(named) + _range(schema)
    for part, of in (("items", "each"), ("additionalProperties", "each value")):
        if part in schema:
            said += f", {of} {words(schema[part])}"
    return said + (", or none" if "null" in kinds else "")


def _range(schema: Schema) -> str:
    def limit(name: str) -> str:
        return f"{schema[name]:.4g}"

    said = ""
    if "exclusiveMinimum" in schema:
        said = f" above {limit('exclusiveMinimum')}"
    elif "minimum" in schema:
        upper = {"maximum", "exclusiveMaximum"} & set(schema)
        said = f" from {limit('minimum')}" if upper else f", {limit('minimum')} or more"
    if "maximum" in schema:
        said += f"{', at most' if 'exclusiveMinimum' in schema else ' to'} {limit('maximum')}"
    elif "exclusiveMaximum" in schema:
        said += f"{' and' if 'exclusiveMinimum' in schema else ' to'} below {limit('exclusiveMaximum')}"
    if "minItems" in schema:
        said += f" of {schema['minItems']}" + ("" if schema["minItems"] == schema.get("maxItems") else " or more")
    return said + (", not empty" if schema.get("minLength") else "")
