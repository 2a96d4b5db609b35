"""Take Ctrl-C and SIGTERM as a request to stop at the next whole state."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

__all__ = ["StopSignals"]

SAME_S = 1.0  # torchrun passes on a Ctrl-C that the terminal has sent to all processes already


class StopSignals:
    """Note SIGINT and SIGTERM in ``received``, 0 before; a second one, more than a second later, ends at once.

    Nothing happens outside of the main thread, where Python does not allow it.
    """

    def __init__(self) -> None:
        self.received = 0
        self._received_at = 0.0
        self._earlier: dict[int, Any] = {}

    def install(self) -> None:
        """Take the signals over, until :meth:`restore`."""
        if threading.current_thread() is threading.main_thread() and not self._earlier:
            self.received = 0
            self._earlier = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore(self) -> None:
        """Restore the earlier handlers."""
        for number, handler in self._earlier.items():
            # None: a handler that was not set from Python, and cannot be restored from there
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._earlier = {}

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.received:
            self.received, self._received_at = number, now
        elif now - self._received_at > SAME_S:
            self.restore()
            raise SystemExit(128 + number)
