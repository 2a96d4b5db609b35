from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from monai_nce.distributed import mean_over_ranks
from monai_nce.engines import bare, end_processes, parallel
from tests.gloo_threads import gloo_threads


def test_one_process_gets_the_network_itself_channels_last():
    network = nn.Conv2d(3, 8, 3)
    weights = network.weight.detach().clone()
    moved = parallel(network, "cpu")
    assert moved is network and torch.equal(network.weight, weights)
    assert network.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_process_group_gets_the_network_wrapped(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        network = nn.Conv2d(3, 8, 3)
        moved = parallel(network, torch.device("cpu"))
        assert isinstance(moved, DistributedDataParallel) and moved.module is network
    finally:
        end_processes()


def test_the_network_in_a_wrapper_is_found():
    wrapper = nn.Module()
    wrapper.module = nn.Conv2d(3, 8, 3)
    assert bare(wrapper) is wrapper.module
    assert bare(wrapper.module) is wrapper.module


def test_in_one_process_means_are_the_values_without_their_graph():
    value = torch.ones((), requires_grad=True) * 3
    means = mean_over_ranks({"loss": value})
    assert means["loss"].item() == 3 and not means["loss"].requires_grad


def _rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    means = mean_over_ranks({"loss": torch.tensor(1.0 + rank), "accuracy": torch.tensor(0.5 * rank)})
    assert {key: value.item() for key, value in means.items()} == {"loss": 1.5, "accuracy": 0.25}
    torch.manual_seed(rank)  # as ranks draw different numbers, their networks start different
    network = parallel(nn.Conv2d(3, 8, 3), "cpu")
    weights = [torch.empty_like(network.module.weight) for _ in range(2)]
    dist.all_gather(weights, network.module.weight.detach().contiguous())
    assert torch.equal(*weights)
    assert gloo_threads()
    end_processes()
    assert not gloo_threads() and not dist.is_initialized()
    assert torch.isfinite(network.module(torch.zeros(1, 3, 4, 4))).all()


@pytest.mark.slow
def test_two_processes_start_alike_and_see_the_means(tmp_path):
    mp.spawn(_rank, (str(tmp_path),), nprocs=2)
