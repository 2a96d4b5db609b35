"""Fit the number of PyTorch's threads to the cores that other processes leave."""

from __future__ import annotations

import os
import time

import psutil
import torch
from ignite.engine import Engine, Events

__all__ = ["CPUThreads"]

FIXED_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
BUSY = ("user", "nice", "system", "irq", "softirq", "steal")  # of psutil's times; guests' are part of user


class CPUThreads:
    """Give up CPU threads while other processes are busy, and take them back afterwards.

    PyTorch's threads wait for each other by spinning (GNU OpenMP): on two cores an iteration took nine times as long
    beside one busy process. With a thread fewer it loses that core and nothing else. With ``OMP_NUM_THREADS``, which
    results that must be equal byte for byte need, this handler does nothing.

    Args:
        interval: seconds between two looks at the load.
    """

    def __init__(self, interval: float = 1.0) -> None:
        self.interval = interval
        self.most = 1
        self._last = (0.0, 0.0, 0.0)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._adapt)
        engine.add_event_handler(Events.COMPLETED, self._restore)

    def _start(self, engine: Engine) -> None:
        on_cpu = torch.device(getattr(engine.state, "device", "cpu")).type == "cpu"
        fixed = not on_cpu or any(os.environ.get(name) for name in FIXED_BY)
        self.most = 1 if fixed else torch.get_num_threads()
        self._last = _seconds()

    def _adapt(self, engine: Engine) -> None:
        if self.most == 1 or time.monotonic() - self._last[0] < self.interval:
            return
        now = _seconds()
        elapsed, busy, own = (new - old for new, old in zip(now, self._last, strict=True))
        self._last = now
        threads = threads_beside((busy - own) / elapsed, len(_cores()), self.most)
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)

    def _restore(self, engine: Engine) -> None:
        if self.most > 1:
            torch.set_num_threads(self.most)


def threads_beside(others: float, cores: int, most: int) -> int:
    """Return how many of ``most`` threads find a core where ``others`` of the ``cores`` are busy on average.

    >>> [threads_beside(others, cores=2, most=2) for others in (0.0, 0.3, 0.7, 2.0)]
    [2, 2, 1, 1]
    """
    return max(1, min(most, round(cores - others)))


def _seconds() -> tuple[float, float, float]:
    """Return the time, and the seconds that this process's cores and this process have been busy."""
    times = psutil.cpu_times(percpu=True)
    busy = sum(getattr(times[core], kind, 0.0) for core in _cores() for kind in BUSY)
    return time.monotonic(), busy, time.process_time()


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))
