"""A candidate in a process of its own, as people run it: others share neither its threads nor its memory."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch

from monai_nce.precision import plain_fp32

__all__ = ["Apart"]


def _serve(connection: Connection, threads: int, make: Callable[..., Callable[..., Any]], arguments: Any) -> None:
    torch.set_num_threads(threads)
    plain_fp32()
    try:
        work = make(*arguments)
        connection.send((None, None))
        while True:
            connection.send((work(*connection.recv()), None))
    except EOFError:  # the other side is gone
        pass
    except BaseException:
        connection.send((None, traceback.format_exc()))


class Apart:
    """Work that a process of its own does on call.

    Args:
        make: makes the work there; what it takes, and what the work takes and gives, can be pickled.
        arguments: of ``make``.

    Raises:
        RuntimeError: with the other process's traceback, when the work cannot be made or done.
    """

    def __init__(self, make: Callable[..., Callable[..., Any]], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, torch.get_num_threads(), make, arguments), daemon=True
        )
        self._process.start()
        theirs.close()
        self._receive()

    def _receive(self) -> Any:
        try:
            result, error = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the process ended with {self._process.exitcode}") from None
        if error:
            raise RuntimeError(error)
        return result

    def __call__(self, *arguments: Any) -> Any:
        self._connection.send(arguments)
        return self._receive()

    def __enter__(self) -> Apart:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()
