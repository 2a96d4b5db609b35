"""Spread work over the workers of a Dask cluster, on this machine or on many."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from monai_nce.errors import InputError

__all__ = ["on_cluster"]

Given = TypeVar("Given")
Made = TypeVar("Made")
CONNECT = 30  # seconds to find the scheduler
AHEAD = 2  # items of a worker that are under way, so that none waits for the next one


def on_cluster(function: Callable[[Given], Made], given: Iterable[Given], address: str) -> Iterator[Made]:
    """Apply a function to each item by a Dask cluster's workers, one item a thread, and yield results as they are done.

    What a worker was at when it died is done again by another one, and yielded once; Dask gives an item up that has
    killed three. Workers may come and go. They need this project installed, and the same paths to files.

    Args:
        function: can be pickled.
        given: the items, taken up as workers become free.
        address: of the scheduler, such as ``tcp://host:8786``.

    Raises:
        InputError: where no scheduler answers, or Dask is not installed.
        ChildProcessError: for an item that killed each worker that took it up.
    """
    try:
        from distributed import Client, as_completed
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise InputError(f'--cluster {address}: needs Dask: pip install "monai-nce[cluster]"') from error
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(f"--cluster {address}: no Dask scheduler answers there") from error
    with client:
        waiting = iter(given)

        def submit(count: int) -> list[Any]:
            return [client.submit(function, one, pure=False) for one in islice(waiting, count)]

        under_way = as_completed(submit(AHEAD * max(1, sum(client.nthreads().values()))), loop=client.loop)
        for future in under_way:
            try:
                made = future.result()
            except KilledWorker as error:
                text = "a patient killed each worker that took it up, perhaps for want of memory"
                raise ChildProcessError(text) from error
            for another in submit(1):
                under_way.add(another)
            future.release()  # or the cluster keeps every volume
            yield made
