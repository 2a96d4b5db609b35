"""One TensorBoard writer for all that a stage shows, which a resumed stage goes on with."""

from __future__ import annotations

from typing import Any

from torch.utils.tensorboard import SummaryWriter

from .ranks import is_first_rank

__all__ = ["StageLog"]


class StageLog:
    """A ``SummaryWriter`` that begins when something is written, and writes on rank 0 alone.

    Args:
        log_dir: folder of the event files.
    """

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    def go_on(self, iteration: int) -> None:
        """Hide what was written after an iteration: the training goes on from there, and writes it again.

        Args:
            iteration: the last one that counts.
        """
        self._purge_step = iteration + 1

    def __getattr__(self, name: str) -> Any:
        """Whatever else is asked for is the writer's."""
        if name.startswith("__"):
            raise AttributeError(name)
        if not is_first_rank():
            return _nothing
        if self._writer is None:
            self._writer = SummaryWriter(self.log_dir, purge_step=self._purge_step)
        return getattr(self._writer, name)


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass
