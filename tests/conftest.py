"""What holds for every test: drawn examples are the same in each run, and a process that was forked can compute."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

# before PyTorch: once OpenMP has had threads, a forked process waits for them for ever
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402
import torch.distributed as dist  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """``as_rank(rank, count)``: from then on this looks like one of so many processes of ``torch.distributed``."""

    def pretend(rank: int, count: int) -> None:
        monkeypatch.setattr(dist, "is_initialized", lambda: True)
        monkeypatch.setattr(dist, "get_rank", lambda: rank)
        monkeypatch.setattr(dist, "get_world_size", lambda: count)

    return pretend


@pytest.fixture(autouse=True)
def sigchld_as_before() -> Iterator[None]:
    """Take back the SIGCHLD handler that a loader with workers leaves behind.

    Where AMX was used, a handled signal can end a process that has pytest's stack for faults.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    if signal.getsignal(signal.SIGCHLD) is not before:
        signal.signal(signal.SIGCHLD, before)
