"""Keep the last few checkpoints of a stage, each beside its SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from monai_nce.data.files.atomic import atomic_path, remove_abandoned, writing
from monai_nce.errors import InputError
from monai_nce.handlers.weights.state_file import write_torch

__all__ = ["CheckpointFolder"]

CHUNK_BYTES = 1 << 20
FULL = "; the earlier checkpoints are whole: make room and go on with --resume True"


class CheckpointFolder:
    """Write files ``000012-epoch3-iteration1480.pt`` for ``torch.load``, and beside each a ``.sha256``.

    Ignite's ``Checkpoint`` has no checksums, and so no way back to the last whole file. Here one appears complete,
    after its checksum for ``sha256sum -c``, or not at all. Numbers go on over all trainings in the folder.

    Args:
        path: the folder, made when something is saved.
        keep: number of checkpoints that stay.
    """

    def __init__(self, path: str | PathLike[str], keep: int = 3) -> None:
        self.path = Path(path)
        self.keep = keep
        self._first = 0

    def files(self) -> list[Path]:
        """Return the checkpoints, oldest first, damaged ones too."""
        return sorted(file for file in self.path.glob("*-epoch*-iteration*.pt") if _number(file) >= 0)

    def begin(self) -> None:
        """Begin another training: earlier checkpoints are removed once the first one of this training is safe."""
        self._first = self._next_number()

    def save(self, content: Any, epoch: int, iteration: int) -> Path:
        """Write a checkpoint, then remove those that are too many; raise an InputError when it cannot be written."""
        path = self.path / f"{self._next_number():06d}-epoch{epoch}-iteration{iteration}.pt"
        checksum = _checksum_file(path)
        remove_abandoned(self.path)  # what a kill in a save has left is as large as a checkpoint
        try:
            with writing(path, FULL), atomic_path(path) as partial:
                digest = write_torch(content, partial)
                # before the file itself moves to its place: there, it always has a checksum
                with atomic_path(checksum) as partial_checksum:
                    partial_checksum.write_text(f"{digest}  {path.name}\n", encoding="ascii")
        except BaseException:
            with contextlib.suppress(OSError):
                checksum.unlink()
            raise
        self._remove_surplus()
        return path

    def load(self) -> tuple[Path, Any, list[Path]]:
        """Read the newest whole checkpoint, or raise an InputError; return path, content and newer damaged ones."""
        damaged: list[Path] = []
        for file in reversed(self.files()):
            if is_whole(file):
                return file, torch.load(file, map_location="cpu", weights_only=True), damaged
            damaged.append(file)
        raise InputError(
            f"{self.path}: expected a checkpoint that is whole but got {len(damaged)} damaged; train anew with "
            "--overwrite True"
        )

    def _next_number(self) -> int:
        return max((_number(file) for file in self.files()), default=0) + 1

    def _remove_surplus(self) -> None:
        kept = [file for file in self.files() if _number(file) >= self._first][-self.keep :]
        for file in self.files():
            if file not in kept:
                file.unlink(missing_ok=True)
        for checksum in self.path.glob("*.pt.sha256"):
            if not checksum.with_suffix("").exists():  # the file was removed, or never came
                checksum.unlink(missing_ok=True)


def is_whole(file: Path) -> bool:
    """Return whether a checkpoint's content has the SHA-256 that lies beside it."""
    try:
        wanted, digest = _checksum_file(file).read_bytes().split(), hashlib.sha256()
        with open(file, "rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError:
        return False
    return bool(wanted) and wanted[0] == digest.hexdigest().encode()


def _checksum_file(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _number(file: Path) -> int:
    number = file.name.split("-")[0]
    return int(number) if number.isdecimal() else -1
