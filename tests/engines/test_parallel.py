from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from monai_nce.engines import parallel


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
        dist.destroy_process_group()
