"""A file for ``torch.load``, and what a full disk makes of it."""

from __future__ import annotations

import hashlib
from os import PathLike
from typing import Any, BinaryIO

import torch

__all__ = ["write_torch"]


def write_torch(content: Any, path: str | PathLike[str]) -> str:
    """``torch.save`` through an open file: given a path, torch writes its name into it, and equal content differs.

    Args:
        content: for ``torch.save``.
        path: the file to write.

    Returns:
        The file's SHA-256, in hexadecimal digits.

    Raises:
        OSError: when it cannot be written, such as on a full disk.
    """
    with open(path, "wb") as file:
        hashing = _Hashing(file)
        try:
            torch.save(content, hashing)  # type: ignore[arg-type]
        except Exception:
            if hashing.error is not None:  # else a RuntimeError about a position in a file
                raise hashing.error from None
            raise
    return hashing.digest.hexdigest()


class _Hashing:
    """A file that hashes what passes, and remembers what torch's writer makes of a full disk's error."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
