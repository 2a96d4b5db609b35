"""Work spread over processes of one thread each, with no more of it in memory than they have in hand."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

import SimpleITK as sitk
import torch

__all__ = ["in_processes"]

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_processes(function: Callable[[Given], Made], given: Iterable[Given], workers: int) -> Iterator[Made]:
    """Apply a function to each of ``given``.

    When the caller stops, by an exception or an interrupt, the processes are ended at once; when it is killed, they
    end themselves.

    Args:
        function: one that another process can import.
        given: its arguments, taken up as processes become free.
        workers: number of processes; with 1 all is done in this one.

    Yields:
        What it returns, in the order in which it is done.

    Raises:
        ChildProcessError: if a process was killed from outside, most often for want of memory.
    """
    if workers == 1:
        yield from map(function, given)
        return
    waiting = iter(given)
    before = set(multiprocessing.active_children())
    # spawned: ITK and torch hold threads and locks that a fork would copy in whatever state they are
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_set_up)
    running: set[Future[Made]] = set()
    try:
        while True:
            with _InterruptsLater():
                running |= {pool.submit(function, one) for one in islice(waiting, workers - len(running))}
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
            del done, future  # or the last result stays in memory while the next ones are made
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process was killed, perhaps for want of memory; fewer --workers need less of it"
        ) from error
    finally:
        if running:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
        pool.shutdown(cancel_futures=True)


class _InterruptsLater:
    """Block Ctrl-C, so that processes started meanwhile have it blocked for good; a pending one comes at the end."""

    def __enter__(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})

    def __exit__(self, *details: object) -> None:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)


def _set_up() -> None:
    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
