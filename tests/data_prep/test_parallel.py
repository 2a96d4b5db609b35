from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from data_prep.parallel import in_processes


def test_one_worker_is_this_process() -> None:
    assert list(in_processes(lambda n: (n, os.getpid()), range(3), 1)) == [(n, os.getpid()) for n in range(3)]


def test_work_is_taken_up_as_it_is_done() -> None:
    taken: list[int] = []

    def given() -> Iterator[int]:
        for number in (-1, -2, -3, -4, -5):
            taken.append(number)
            yield number

    made = in_processes(abs, given(), 2)
    assert next(made) in (1, 2)
    assert len(taken) == 2
    assert sorted(made) in ([2, 3, 4, 5], [1, 3, 4, 5])


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(ChildProcessError, match="a worker process was killed"):
        list(in_processes(_kill, [signal.SIGKILL], 2))


def _kill(number: int) -> None:
    os.kill(os.getpid(), number)
