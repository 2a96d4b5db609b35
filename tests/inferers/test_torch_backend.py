from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_nce.inferers import Runtime
from monai_nce.inferers.torch_backend import TorchBackend, cpu_workers


@pytest.mark.parametrize(
    ("threads", "workers"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (9, 3), (64, 4)]
)
def test_as_many_workers_as_share_the_threads_equally(threads, workers, monkeypatch):
    assert cpu_workers(threads) == workers
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    backend = TorchBackend(nn.Conv2d(3, 3, 1), torch.device("cpu"))
    assert (backend.workers, backend.threads) == (workers, threads // workers)


def test_one_worker_where_there_is_no_cpu_to_share():
    assert TorchBackend(nn.Conv2d(3, 3, 1, device="meta"), torch.device("meta")).workers == 1


def test_a_network_that_cannot_rearrange_itself_runs_in_bf16_as_a_whole(stacks):
    seen = []

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dtype)
            return self.conv(x)

    ready = Runtime("torch", "bf16").prepare(Plain(), stacks)
    assert ready(stacks).dtype == torch.float32
    assert seen[-1] == torch.bfloat16
