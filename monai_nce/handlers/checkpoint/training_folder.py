"""What the stages of a training have in common: the lock on their folder, and a name in all of their checkpoints."""

from __future__ import annotations

import secrets
from os import PathLike
from pathlib import Path
from typing import IO

from monai_nce.data.files.atomic import LOCKS
from monai_nce.distributed import broadcast, is_main_process
from monai_nce.errors import InputError
from monai_nce.handlers.weights.trained_for import TrainedFor

if LOCKS:
    import fcntl

__all__ = ["TrainingFolder"]

LOCK = ".lock"


class TrainingFolder:
    """One for all stages of a training.

    A training that begins anew in the folder of an earlier one comes to its later stages last. Until then the earlier
    one's checkpoints lie there, and what was resumed would go on with them; ``name`` tells them apart.

    Args:
        path: of the folder that holds the stages' own; None has no lock.
        trained_for: what the weights will be good for; a training for something else is not gone on with.

    Attributes:
        name: of the training; None until its first stage starts, and then that of the checkpoint it goes on from.
    """

    def __init__(self, path: str | PathLike[str] | None = None, trained_for: TrainedFor | None = None) -> None:
        self.path = None if path is None else Path(path)
        self.trained_for = trained_for
        self.name: str | None = None
        self._lock: IO[str] | None = None

    def take(self) -> None:
        """Lock the folder until this process ends, however it does. Every process must call it, at the same point.

        Raises:
            InputError: when another process trains into it, or it cannot be written to.
        """
        failure = broadcast(self._take() if is_main_process() else None)
        if failure is not None:
            raise failure

    def _take(self) -> InputError | None:
        if self.path is None or self._lock is not None or not LOCKS:
            return None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / LOCK, "w")  # noqa: SIM115 - until the end
        except OSError as error:
            return InputError(f"{self.path}: cannot be written: {error.strerror or error}")
        try:
            # of this process alone: loader workers that outlive it do not hold it
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            lock.close()
            return InputError(
                f"{self.path}: another training is at work in it; wait for its end, or choose another folder"
            )
        except OSError:  # a file system without locks
            pass
        self._lock = lock
        return None

    def begin(self) -> None:
        """A stage begins that has no checkpoint of this training. Every process must call it, at the same point."""
        if self.name is None:
            self.name = broadcast(secrets.token_hex(8))

    def has(self, name: str) -> bool:
        """Whether a checkpoint is this training's. The first one that is asked about says which training this is.

        Args:
            name: of the checkpoint's training.
        """
        if self.name is None:
            self.name = name
        return self.name == name
