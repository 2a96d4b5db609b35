"""Two real processes; alone, nothing is exchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from monai_nce.distributed import (
    all_gather,
    all_max,
    broadcast,
    broadcast_buffers,
    is_main_process,
    rank,
    shard,
    world_size,
)
from monai_nce.errors import InputError
from tests.gloo_threads import gloo_threads


def test_a_process_alone() -> None:
    assert all_max(3, False) == [3, 0]
    assert all_gather("a") == ["a"]
    assert broadcast("a") == "a"
    assert is_main_process() and world_size() == 1


def talk(own: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=own, world_size=2)
    assert all_max(own, 5 - own, 0) == [1, 5, 0]
    assert all_gather({"rank": own}) == [{"rank": 0}, {"rank": 1}]
    assert broadcast(f"from {own}") == "from 0"
    assert is_main_process() == (own == 0) and world_size() == 2
    network = nn.BatchNorm1d(3)
    network(torch.full((2, 3), float(own)))
    broadcast_buffers(network)
    assert torch.equal(network.running_mean, torch.zeros(3)) and int(network.num_batches_tracked) == 1
    dist.destroy_process_group()
    Path(folder, f"{own} is done").touch()


def through_cpus(own: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=own, world_size=2)
    before = gloo_threads()
    dist.get_backend = lambda group=None: "nccl"  # so much of it as there is without a GPU
    assert all_max(own) == [1] and all_gather(own) == [0, 1] and broadcast(own) == 0
    assert len(gloo_threads()) > len(before)  # a group of its own, made once
    dist.destroy_process_group()
    assert not gloo_threads()
    Path(folder, f"{own} is done").touch()


@pytest.mark.slow
def test_what_two_processes_on_gpus_tell_each_other_leaves_no_thread_behind(tmp_path: Path) -> None:
    mp.spawn(through_cpus, (str(tmp_path),), nprocs=2)
    assert len(list(tmp_path.glob("* is done"))) == 2


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    mp.spawn(talk, (str(tmp_path),), nprocs=2)
    assert len(list(tmp_path.glob("* is done"))) == 2


@given(count=st.integers(0, 40), processes=st.integers(1, 12))
def test_every_item_comes_once_in_order_and_the_parts_are_even(count, processes):
    parts = []
    for own in range(processes):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RANK", str(own))
            patch.setenv("WORLD_SIZE", str(processes))
            parts.append(shard(range(count)))
    assert sorted(item for part in parts for item in part) == list(range(count))
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_process_started_alone_has_everything(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (rank(), world_size()) == (0, 1)
    assert shard("abc") == ["a", "b", "c"]


@pytest.mark.parametrize(("own", "processes"), [("2", "2"), ("x", "2"), ("0", "0"), ("-1", "2"), ("1", "")])
def test_a_rank_that_cannot_be_is_refused(monkeypatch, own, processes):
    monkeypatch.setenv("RANK", own)
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(InputError, match="RANK below WORLD_SIZE"):
        shard([1])


def test_a_process_group_goes_before_the_environment(as_rank) -> None:
    as_rank(2, 3)
    assert (rank(), world_size(), is_main_process()) == (2, 3, False)


def test_an_exchange_without_a_process_group_names_the_file_that_makes_one(monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="multi_gpu_train.json"):
        all_max(1)
