"""Work on a Dask cluster: all of it, once, also when a worker dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from distributed import LocalCluster

from data_prep.arguments import take_workers
from data_prep.cluster import on_cluster
from data_prep.parallel import in_processes
from monai_nce.errors import InputError


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as started:
        yield started


@pytest.fixture
def address(cluster: LocalCluster) -> str:
    return str(cluster.scheduler_address)


def test_every_item_is_done_once_and_taken_up_as_workers_become_free(address: str) -> None:
    taken: list[int] = []

    def given() -> Iterator[int]:
        for number in range(-20, 0):
            taken.append(number)
            yield number

    made = in_processes(abs, given(), address)
    first = next(made)
    assert len(taken) <= 6
    assert sorted([first, *made]) == list(range(1, 21))


@pytest.mark.slow
def test_the_item_of_a_killed_worker_is_done_again(address: str, tmp_path: Path) -> None:
    died = tmp_path / "died"
    assert sorted(on_cluster(partial(_die_once, died), range(6), address)) == [0, 1, 4, 9, 16, 25]
    assert died.is_file()


def _die_once(died: Path, number: int) -> int:
    if number == 3 and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


@pytest.mark.slow
def test_an_item_that_kills_every_worker_is_given_up(cluster: LocalCluster, address: str) -> None:
    cluster.scheduler.allowed_failures = 1
    with pytest.raises(ChildProcessError, match="killed each worker that took it up"):
        list(on_cluster(_kill, [signal.SIGKILL], address))


def _kill(number: int) -> None:
    os.kill(os.getpid(), number)


def test_an_error_of_a_worker_is_the_callers(address: str) -> None:
    with pytest.raises(ZeroDivisionError):
        list(on_cluster(partial(divmod, 1), [0], address))


def test_no_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.cluster.CONNECT", 0.2)
    with pytest.raises(InputError, match="--cluster tcp://127.0.0.1:1: no Dask scheduler answers there"):
        list(on_cluster(abs, [1], "tcp://127.0.0.1:1"))
    with pytest.raises(InputError, match="--cluster nowhere://: no Dask scheduler"):
        list(on_cluster(abs, [1], "nowhere://"))


def test_cluster_and_processes_do_not_go_together() -> None:
    assert take_workers({"num_workers": 3}) == 3 and take_workers({}) == 1
    assert take_workers({"cluster": "tcp://a:1"}) == "tcp://a:1"
    with pytest.raises(InputError, match="--cluster: expected without --num_workers"):
        take_workers({"cluster": "tcp://a:1", "num_workers": 2})
