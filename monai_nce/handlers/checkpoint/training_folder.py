"""Lock a training's folder, keep what an earlier training left in it, and tell the two's checkpoints apart."""

from __future__ import annotations

import secrets
from os import PathLike
from pathlib import Path

from filelock import BaseFileLock

from monai_nce.data.files.atomic import writing
from monai_nce.data.files.lock import Timeout, lock_folder
from monai_nce.distributed import broadcast, on_main_process
from monai_nce.errors import InputError
from monai_nce.handlers.checkpoint.folder import CheckpointFolder
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = ["TrainingFolder", "refuse_trained"]


def refuse_trained(
    checkpoints: str | PathLike[str], weights: str | PathLike[str], resume: bool = False, overwrite: bool = False
) -> None:
    """Refuse to train where an earlier training lies, finished or not, unless it is resumed or to be overwritten.

    Args:
        checkpoints: folder that holds the stages' own folders.
        weights: folder of the networks' weights. Without checkpoints they cannot be resumed.
        resume: go on from the newest checkpoints.
        overwrite: train anew, and replace what is there.

    Raises:
        InputError: naming the folder, and the two ways on.
    """
    saved = any(CheckpointFolder(folder).files() for folder in Path(checkpoints).glob("*/"))
    if overwrite or (resume and saved):
        return
    if saved:
        raise InputError(
            f"{checkpoints}: holds a training already; --resume True goes on with it, --overwrite True trains anew"
        )
    if any(Path(weights).glob("*.pt")):
        raise InputError(
            f"{weights}: holds weights already, and no checkpoints to go on from; choose another --output_dir, or "
            "train anew with --overwrite True"
        )


class TrainingFolder:
    """Hold the lock and the name that all stages of a training share.

    In a folder where a training begins anew, the later stages' checkpoints are an earlier one's for a while; ``name``
    keeps a resumed training from going on with them.

    Args:
        path: folder that holds the stages' own folders; None is not locked.
        trained_for: what the weights will be good for; a training for something else is not resumed.
        resume: go on from the newest checkpoints.
        minutes: most time between two checkpoints.
        weights: folder that the networks' weights go to, where earlier ones count as a training too.
        overwrite: train anew although an earlier training is there, see :func:`refuse_trained`.

    Attributes:
        name: name of the training; None until its first stage starts, and then that of the checkpoint it resumes.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        trained_for: TrainedFor | None = None,
        resume: bool = False,
        minutes: float = 10,
        weights: str | PathLike[str] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.weights = weights
        self.overwrite = overwrite
        self.trained_for = trained_for
        self.resume = resume
        self.minutes = minutes
        self.name: str | None = None
        self._lock: BaseFileLock | None = None

    def take(self) -> None:
        """Lock the folder until this process ends, or raise an InputError, also for a training that would be lost.

        A collective call.
        """
        on_main_process(self._take)

    def _take(self) -> None:
        if self.path is None or self._lock is not None:
            return
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock = lock_folder(self.path, reentrant=True)
            except Timeout as error:
                raise InputError(
                    f"{self.path}: another training is at work in it; wait for its end, or choose another folder"
                ) from error
        if self.weights is not None:
            refuse_trained(self.path, self.weights, self.resume, self.overwrite)

    def begin(self) -> None:
        """Name the training when a stage begins without a checkpoint. A collective call."""
        if self.name is None:
            self.name = broadcast(secrets.token_hex(8))

    def has(self, name: str) -> bool:
        """Return whether a checkpoint's training, by name, is this one; the first that is asked about becomes it."""
        if self.name is None:
            self.name = name
        return self.name == name
