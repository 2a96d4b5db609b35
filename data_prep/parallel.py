"""Spread work over worker processes of this machine or of a cluster, and over those that ``torchrun`` started.

Neither joblib nor ``multiprocessing.Pool`` serves for the workers: the one takes up new work while results pile up in
the parent, a volume each, the other waits for a killed worker for ever.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TypeVar

import SimpleITK as sitk
import torch

from monai_nce.distributed import all_gather, broadcast, shard, start_cpu_group
from monai_nce.processes import end_with_parent

from .cluster import on_cluster

__all__ = ["gather", "in_processes", "others_end_on_error", "share"]

Given = TypeVar("Given")
Made = TypeVar("Made")
PATIENCE = timedelta(days=30)  # for the slowest process of a run


def in_processes(function: Callable[[Given], Made], given: Iterable[Given], workers: int | str) -> Iterator[Made]:
    """Apply a function to each item in processes of one thread and one item each, and yield results as they are done.

    Items are taken up as processes become free; with one worker all is done in this process. The processes are ended at
    once when the caller stops, by an exception or an interrupt, and end themselves when it is killed.

    Args:
        function: can be pickled.
        given: the items.
        workers: how many processes; or the address of a Dask scheduler, whose workers then do it.

    Raises:
        InputError: where no scheduler answers at the address.
        ChildProcessError: if a process was killed from outside, most often for want of memory.
    """
    if isinstance(workers, str):
        yield from on_cluster(partial(_in_one_thread, function), given, workers)
        return
    if workers == 1:
        yield from map(function, given)
        return
    # spawned: a fork would copy threads and locks of ITK and torch in whatever state they are
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_start_worker)
    waiting, before = iter(given), set(multiprocessing.active_children())
    running: set[Future[Made]] = set()
    try:
        while True:
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # for good in processes that start now
            try:
                running |= {pool.submit(function, one) for one in islice(waiting, workers - len(running))}
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
            del done, future  # or the last result stays in memory while the next ones are made
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory; fewer --num_workers need less of it"
        ) from error
    finally:
        if running:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
        pool.shutdown(cancel_futures=True)


def share(items: Sequence[Given] | None = None) -> list[Given] | None:
    """Give each of N processes every N-th item of rank 0's list, or None where it gave none. A collective call.

    Raises:
        ChildProcessError: if another process has ended early.
    """
    with _others_alive():
        start_cpu_group(PATIENCE)
        given = broadcast(items)
    return None if given is None else shard(given)


def gather(thing: Made) -> list[Made]:
    """``thing`` of every process, by rank; volumes go through the shared folder. A collective call.

    Raises:
        ChildProcessError: if another process has ended early.
    """
    with _others_alive():
        return all_gather(thing)


@contextmanager
def others_end_on_error() -> Iterator[None]:
    """Let the other processes, which wait in :func:`share`, end quietly when rank 0 fails in the body."""
    try:
        yield
    except BaseException:
        share(None)
        raise


@contextmanager
def _others_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo raises when the other side is gone
        raise ChildProcessError("another process of this run has ended early; see its message") from error


def _start_worker() -> None:
    _use_one_thread()
    end_with_parent()


def _in_one_thread(function: Callable[[Given], Made], one: Given) -> Made:
    _use_one_thread()
    return function(one)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
