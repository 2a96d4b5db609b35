"""Time candidates in turns, since machines are noisy, and compare the turns of the same round."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["busy_cores", "faster", "in_turns", "spread"]


def in_turns(candidates: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Measure the seconds of each candidate in each round; one round before them warms up and is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, work in candidates.items():
            start = time.perf_counter()
            work()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


def spread(values: list[float]) -> dict[str, float]:
    """Return median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def faster(reference: list[float], times: list[float]) -> dict[str, float]:
    """Return how many times faster than the reference, of the same rounds: median, lowest and highest."""
    return spread([r / t for r, t in zip(reference, times, strict=True)])


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep ``count`` cores busy with other processes, as on a workstation that does something else as well."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        time.sleep(0.5)  # until they are at it
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
