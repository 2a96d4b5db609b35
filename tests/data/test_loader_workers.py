from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from monai_nce.data import outlast_signals


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system cannot tell who sent a signal")
def test_workers_outlast_signals_from_others_and_obey_their_parent() -> None:
    loader = DataLoader(
        TensorDataset(torch.arange(40)), batch_size=2, num_workers=2, multiprocessing_context="fork",
        worker_init_fn=outlast_signals, persistent_workers=True,
    )  # fmt: skip
    batches = iter(loader)
    seen = next(batches)[0].tolist()
    workers = loader._iterator._workers  # type: ignore[union-attr]
    for worker in workers:
        for number in (signal.SIGTERM, signal.SIGINT):
            # as somebody else: in a child of this process
            if (child := os.fork()) == 0:
                os.kill(worker.pid, number)
                os._exit(0)
            os.waitpid(child, 0)
    seen += [value for (batch,) in batches for value in batch.tolist()]
    assert seen == list(range(40)) and all(worker.is_alive() for worker in workers)
    start = time.monotonic()
    # its handler would take the end of a worker for an accident
    earlier = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        for worker in workers:
            worker.terminate()
            worker.join(10)
        assert [worker.exitcode for worker in workers] == [0, 0]
        assert time.monotonic() - start < 5
    finally:
        signal.signal(signal.SIGCHLD, earlier)
