"""Keep a loader's workers alive when a signal stops the training, until the batch at hand is delivered."""

from __future__ import annotations

import gc
import os
import signal
import threading

from monai.data.utils import worker_init_fn

__all__ = ["outlast_signals"]


def outlast_signals(worker_id: int) -> None:
    """Ignore SIGINT in a worker, and SIGTERM from any process but its parent; a ``DataLoader``'s ``worker_init_fn``.

    Ctrl-C and cluster schedulers signal all processes of a training at once, but the main one still needs the batch at
    hand, and ends its workers when it is done. MONAI's ``worker_init_fn`` runs too.
    """
    worker_init_fn(worker_id)
    gc.freeze()  # garbage of the main process: a network of OpenVINO, destroyed here, would wait for ever
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on every system: there, SIGTERM to all ends the workers first
        # blocked, and waited for, since a handler is not told who sent the signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_obey, args=(os.getppid(),), daemon=True).start()


def _obey(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
