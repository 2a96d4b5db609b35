"""Refuse images that are synthetic already, unless they are to be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from monai_nce.errors import InputError

__all__ = ["allow_synthetic", "refuse_synthetic"]

_allowed: ContextVar[bool] = ContextVar("synthetic images allowed", default=False)


@contextmanager
def allow_synthetic() -> Iterator[None]:
    """Let readers take synthetic images, which are no input of a network or a data set."""
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def refuse_synthetic(path: Path, evidence: str) -> None:
    """Refuse an image that says that it is synthetic.

    Args:
        path: of the image, for the message.
        evidence: where it says so.

    Raises:
        InputError: outside of :func:`allow_synthetic`.
    """
    if not _allowed.get():
        raise InputError(f"{path}: the image is synthetic already ({evidence})")
