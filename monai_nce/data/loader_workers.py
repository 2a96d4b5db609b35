"""Worker processes of a loader that outlast the signal that stops a training."""

from __future__ import annotations

import signal
from types import FrameType

from monai.data.utils import worker_init_fn

__all__ = ["outlast_signals"]

GRACE_S = 60


def outlast_signals(worker_id: int) -> None:
    """Begin a worker that ignores SIGINT, and lives on for a minute after a SIGTERM.

    Ctrl-C and cluster schedulers signal all processes of a training at once. The main one ends the iteration at hand
    and saves; it needs its batch for that, and tells the workers to end when it is done.

    Args:
        worker_id: as a ``DataLoader`` gives it to its ``worker_init_fn``; MONAI's own is called too.
    """
    worker_init_fn(worker_id)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGTERM, _end_later)


def _end_later(number: int, frame: FrameType | None) -> None:
    signal.alarm(GRACE_S)  # whose own default is to end the process
