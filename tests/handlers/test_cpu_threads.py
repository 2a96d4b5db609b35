from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import nn

from monai_nce.handlers import cpu_threads
from monai_nce.handlers.cpu_threads import CPUThreads, threads_beside


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """PyTorch with four threads, which nothing in the environment fixes."""
    for name in cpu_threads.FIXED_BY:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def numbers(monkeypatch: pytest.MonkeyPatch, others: list[float], cores: int = 4, **state: Any) -> list[int]:
    """PyTorch's threads in each iteration, a second long, while others keep so many cores busy."""
    clock = {"now": 0.0, "busy": 0.0, "own": 0.0}
    monkeypatch.setattr(cpu_threads, "_cores", lambda: list(range(cores)))
    monkeypatch.setattr(cpu_threads, "_seconds", lambda: (clock["now"], clock["busy"], clock["own"]))
    monkeypatch.setattr(cpu_threads.time, "monotonic", lambda: clock["now"])
    seen = []

    def iteration(engine: Engine, other: float) -> None:
        seen.append(torch.get_num_threads())
        clock["now"] += 1
        clock["own"] += seen[-1]
        clock["busy"] += seen[-1] + other

    engine = Engine(iteration)
    for name, value in state.items():
        setattr(engine.state, name, value)
    CPUThreads().attach(engine)
    engine.run(others)
    return seen


def test_threads_are_given_up_and_taken_back(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers(monkeypatch, [0, 1, 1, 2.9, 0.2, 0]) == [4, 4, 3, 3, 1, 4]
    assert torch.get_num_threads() == 4


def test_the_number_is_put_back_at_the_end(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers(monkeypatch, [2, 2, 2]) == [4, 2, 2]
    assert torch.get_num_threads() == 4


def test_the_environment_fixes_the_number(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert numbers(monkeypatch, [3, 3, 3]) == [4, 4, 4]


def test_a_gpu_is_left_alone(threads: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert numbers(monkeypatch, [3, 3, 3], device=torch.device("cuda")) == [4, 4, 4]


@pytest.mark.parametrize(
    ("others", "cores", "most", "expected"),
    [
        (0.0, 2, 2, 2),
        (0.4, 2, 2, 2),
        (0.7, 2, 2, 1),
        (5.0, 2, 2, 1),
        (1.0, 16, 16, 15),
        (0.0, 16, 4, 4),
        (14.0, 16, 4, 2),
    ],
)
def test_threads_beside(others: float, cores: int, most: int, expected: int) -> None:
    assert threads_beside(others, cores, most) == expected


def test_real_processes_are_seen(threads: Any) -> None:
    """One busy process on each core: of any number of threads one is left."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in cpu_threads._cores()]
    seen = []
    layer = nn.Linear(64, 64)

    def iteration(engine: Engine, _: int) -> None:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            layer(torch.zeros(64, 64))
        seen.append(torch.get_num_threads())

    try:
        torch.set_num_threads(len(busy))
        engine = Engine(iteration)
        CPUThreads(interval=0.2).attach(engine)
        engine.run(range(30))
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert seen[0] == len(busy) and seen[-1] < max(2, len(busy))
