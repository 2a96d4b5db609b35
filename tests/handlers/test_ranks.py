"""Two real processes; alone, nothing is exchanged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from monai_nce.handlers.ranks import agree, gather, is_first_rank, process_count, share, share_buffers
from tests.gloo_threads import gloo_threads


def test_a_process_alone() -> None:
    assert agree(3, False) == [3, 0]
    assert gather("a") == ["a"]
    assert share("a") == "a"
    assert is_first_rank() and process_count() == 1


def talk(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    assert agree(rank, 5 - rank, 0) == [1, 5, 0]
    assert gather({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    assert share(f"from {rank}") == "from 0"
    assert is_first_rank() == (rank == 0) and process_count() == 2
    network = nn.BatchNorm1d(3)
    network(torch.full((2, 3), float(rank)))
    share_buffers(network)
    assert torch.equal(network.running_mean, torch.zeros(3)) and int(network.num_batches_tracked) == 1
    dist.destroy_process_group()
    Path(folder, f"{rank} is done").touch()


def through_cpus(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    before = gloo_threads()
    dist.get_backend = lambda group=None: "nccl"  # so much of it as there is without a GPU
    assert agree(rank) == [1] and gather(rank) == [0, 1] and share(rank) == 0
    assert len(gloo_threads()) > len(before)  # a group of its own, made once
    dist.destroy_process_group()
    assert not gloo_threads()
    Path(folder, f"{rank} is done").touch()


@pytest.mark.slow
def test_what_two_processes_on_gpus_tell_each_other_leaves_no_thread_behind(tmp_path: Path) -> None:
    mp.spawn(through_cpus, (str(tmp_path),), nprocs=2)
    assert len(list(tmp_path.glob("* is done"))) == 2


@pytest.mark.slow
def test_two_processes(tmp_path: Path) -> None:
    mp.spawn(talk, (str(tmp_path),), nprocs=2)
    assert len(list(tmp_path.glob("* is done"))) == 2
