"""Write and read files of ``torch.save`` with one-line errors."""

from __future__ import annotations

import hashlib
import zipfile
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import torch

from monai_nce.errors import InputError

__all__ = ["read_state_dict", "write_torch"]


def write_torch(content: Any, path: str | PathLike[str]) -> str:
    """Save content and return the file's SHA-256 in hexadecimal digits, or raise an OSError, as on a full disk."""
    with open(path, "wb") as file:  # given a path, torch writes its name into the file, and equal content differs
        hashing = _Hashing(file)
        try:
            torch.save(content, hashing)  # type: ignore[arg-type]
        except Exception:
            if hashing.error is not None:  # else a RuntimeError about a position in a file
                raise hashing.error from None
            raise
    return hashing.digest.hexdigest()


def read_state_dict(path: str | PathLike[str], check: bool = True) -> dict[str, torch.Tensor]:
    """Read a state dict onto the CPU, or raise an InputError; the file cannot run code.

    With ``check`` it is compared with its checksums; else tensors are not even read before they are used.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint")
    try:
        zipped = zipfile.is_zipfile(path)  # torch's own format since 1.6, with CRC-32s that it does not check itself
        if zipped and check:
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile("CRC-32")
        weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped and not check)
    except Exception as error:  # of many kinds: a damaged pickle fails wherever the damage leads
        # torch's own words run over paragraphs and advise to load unsafely
        why = "damaged" if isinstance(error, zipfile.BadZipFile) else "expected tensors alone, from torch.save"
        raise InputError(f"{path}: not a readable checkpoint: {why}") from error
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise InputError(f"{path}: expected a state dict of tensors but got something else")
    return weights


class _Hashing:
    """Hash what is written to a file, and remember an OSError that torch's writer would replace."""

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
