"""Hash files."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

__all__ = ["file_sha256"]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits; of one that stays as it is, it is computed once."""
    state = path.stat()
    return _hash(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _hash(checkpoint: Path, mtime_ns: int, size: int) -> str:
    return hashlib.sha256(checkpoint.read_bytes()).hexdigest()
