"""Write a stage's curves and pictures to TensorBoard, also over a resumed training."""

from __future__ import annotations

import functools
import threading
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from monai_nce.data.files.atomic import writing
from monai_nce.distributed import is_main_process

__all__ = ["StageLog"]


class StageLog:
    """Write as ``SummaryWriter`` does, on rank 0 alone, or raise an InputError; the file begins with the first call."""

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    def go_on(self, iteration: int) -> None:
        """Hide what was written after an iteration, from which the training goes on and writes it again."""
        self._purge_step = iteration + 1

    def add_scalar(self, *args: Any, **kwargs: Any) -> None:
        self._write("add_scalar", *args, **kwargs)

    def add_image(self, *args: Any, **kwargs: Any) -> None:
        self._write("add_image", *args, **kwargs)

    def flush(self) -> None:
        self._write("flush")

    def close(self) -> None:
        self._write("close")

    def _write(self, method: str, *args: Any, **kwargs: Any) -> None:
        if not is_main_process():
            return
        with writing(self.log_dir, "; make room and go on with --resume True"):
            if self._writer is None:
                _let_the_writer_end_quietly()
                self._writer = SummaryWriter(self.log_dir, purge_step=self._purge_step)
            getattr(self._writer, method)(*args, **kwargs)


@functools.cache
def _let_the_writer_end_quietly() -> None:
    """Silence the traceback of TensorBoard's thread in the process's hook: the writer's next call raises its error."""
    show = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not (isinstance(args.exc_value, OSError) and type(args.thread).__module__.startswith("tensorboard.")):
            show(args)

    threading.excepthook = hook
