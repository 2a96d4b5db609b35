from __future__ import annotations

import gc
import os
import signal
import time

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

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


class Fatal:
    """Garbage that cannot be destroyed in another process than the one that made it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.cycle = self

    def __del__(self) -> None:
        if os.getpid() != self.process:
            os._exit(7)


class Collecting(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        gc.collect()
        return index


def test_workers_leave_the_garbage_of_their_parent_alone() -> None:
    gc.disable()
    try:
        Fatal()
        loader = DataLoader(Collecting(), num_workers=1, multiprocessing_context="fork", worker_init_fn=outlast_signals)
        assert [int(value) for value in loader] == [0, 1, 2, 3]
    finally:
        gc.enable()
