"""One TensorBoard writer for all that a stage shows, which a resumed stage goes on with."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError

__all__ = ["StageLog"]


class StageLog:
    """A ``SummaryWriter`` that begins when something is written, and writes on rank 0 alone.

    Args:
        log_dir: folder of the event files.

    Raises:
        InputError: by any method of the writer, when it cannot write, such as on a full disk.
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
        if not is_main_process():
            return _nothing
        if self._writer is None:
            _let_the_writer_end_quietly()
            self._writer = self._one_line(SummaryWriter)(self.log_dir, purge_step=self._purge_step)
        found = getattr(self._writer, name)
        return self._one_line(found) if callable(found) else found

    def _one_line(self, work: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(work)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return work(*args, **kwargs)
            except OSError as error:
                raise InputError(
                    f"{self.log_dir}: cannot be written: {error.strerror or error}; make room and go on with "
                    "--resume True"
                ) from error

        return guarded


@functools.cache
def _let_the_writer_end_quietly() -> None:
    """TensorBoard's thread ends with what the next call of the writer raises; its traceback would come first."""
    show = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard.")):
            show(args)

    threading.excepthook = hook


def _nothing(*args: Any, **kwargs: Any) -> None:
    pass
