from __future__ import annotations

import subprocess

import pytest

from benchmarks.timing import busy_cores, faster, in_turns, spread


def test_candidates_take_turns_after_a_round_that_is_not_counted():
    seen: list[str] = []
    times = in_turns({name: lambda name=name: seen.append(name) for name in "ab"}, rounds=2)
    assert seen == list("ababab")
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2}


def test_spread():
    assert spread([3.0, 1.0, 8.0]) == {"median": 3.0, "low": 1.0, "high": 8.0}


def test_ratios_are_those_of_the_same_round():
    # the machine was twice as slow in the second round: the ratio is the same
    assert faster([4.0, 8.0, 6.0], [2.0, 4.0, 2.0]) == {"median": 2.0, "low": 2.0, "high": 3.0}
    with pytest.raises(ValueError):
        faster([1.0], [1.0, 2.0])


def test_other_processes_are_at_work_inside_and_gone_after(monkeypatch):
    started: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args: started.append(popen(*args)) or started[-1])
    with busy_cores(2):
        assert len(started) == 2 and all(process.poll() is None for process in started)
    assert all(process.poll() is not None for process in started)
