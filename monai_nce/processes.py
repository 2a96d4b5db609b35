"""End worker processes with the process that started them, also where that is killed and can end nothing."""

from __future__ import annotations

import multiprocessing
import os
import threading

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """Let this process end at once when its parent has; does nothing in one that multiprocessing did not start."""
    if multiprocessing.parent_process():
        threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
