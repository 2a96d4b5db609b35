"""Worker processes of a loader that outlast the signal that stops a training, and what was there before them."""

from __future__ import annotations

import gc
import os
import signal
import threading

from monai.data.utils import worker_init_fn

__all__ = ["outlast_signals"]


def outlast_signals(worker_id: int) -> None:
    """Begin a worker that ignores SIGINT, and SIGTERM from anyone but the process that it works for.

    Ctrl-C and cluster schedulers signal all processes of a training at once. The main one ends the iteration at hand
    and saves; it needs its batch for that, and ends its workers when it is done.

    What the main process has left as garbage is never collected in the worker: a network of OpenVINO waits, when it is
    destroyed, for threads that a forked process lacks, and so for ever.

    Args:
        worker_id: as a ``DataLoader`` gives it to its ``worker_init_fn``; MONAI's own is called too.
    """
    worker_init_fn(worker_id)
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on every system: there, SIGTERM to all ends the workers first
        # blocked, and waited for, since a handler is not told who sent the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
