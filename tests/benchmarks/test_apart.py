from __future__ import annotations

import os

import pytest
import torch

from benchmarks.apart import Apart


def make_sum(first):
    def work(second):
        return first + second, os.getpid(), torch.get_num_threads()

    return work


def make_nothing():
    raise ValueError("nothing to make")


def make_death():
    return os._exit


def test_another_process_does_the_work_with_as_many_threads_and_its_errors_come_back():
    with Apart(make_sum, 2) as apart:
        assert apart(3) == (5, apart._process.pid, torch.get_num_threads())
        assert apart._process.pid != os.getpid()
        with pytest.raises(RuntimeError, match="TypeError"):
            apart("three")
    apart._process.join()
    assert not apart._process.is_alive()


def test_what_cannot_be_made_is_said():
    with pytest.raises(RuntimeError, match="ValueError: nothing to make"):
        Apart(make_nothing)


def test_a_process_that_dies_is_noticed():
    with Apart(make_death) as apart, pytest.raises(RuntimeError, match="ended with 3"):
        apart(3)
