"""Turn the roles of docstrings, as :class:`~a.b.C`, into links to where the reference has what they name."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`")


class Roles(Extension):
    """Rewrite each docstring when its object has been read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            package = ".".join(obj.path.split(".")[:2])
            obj.docstring.value = ROLE.sub(partial(_link, package), obj.docstring.value)


def _link(package: str, role: re.Match[str]) -> str:
    """Link to a name as its package exports it; what the reference does not have stays a word."""
    short, name = role.groups()
    parts = name.split(".")
    if parts[0] == "monai_nce":
        name = ".".join([*parts[:2], *parts[-1:]])
    elif len(parts) == 1:
        name = f"{package}.{name}"
    return f'<autoref identifier="{name}" optional><code>{parts[-1] if short else role[2]}</code></autoref>'
