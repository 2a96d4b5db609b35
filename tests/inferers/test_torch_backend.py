from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_nce.inferers.torch_backend import TorchBackend, cpu_workers


@pytest.mark.parametrize(
    ("threads", "workers"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (9, 3), (64, 4)]
)
def test_as_many_workers_as_share_the_threads_equally(threads, workers, monkeypatch):
    assert cpu_workers(threads) == workers
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    backend = TorchBackend(nn.Conv2d(3, 3, 1), torch.device("cpu"))
    assert (backend.workers, backend.sharing, backend.threads) == (workers, workers, threads // workers)


def test_one_worker_where_there_is_no_cpu_to_share():
    assert TorchBackend(nn.Conv2d(3, 3, 1, device="meta"), torch.device("meta")).workers == 1


def test_the_copy_runs_in_bf16_channels_last_and_the_network_stays(stacks):
    seen = []

    class Plain(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((x.dtype, x.is_contiguous(memory_format=torch.channels_last), self.training))
            return super().forward(x)

    network = Plain(3, 3, 3)
    assert TorchBackend(network, torch.device("cpu"), "bf16")(stacks).dtype == torch.float32
    assert seen == [(torch.bfloat16, True, False)]
    assert network.weight.dtype == torch.float32 and network.weight.requires_grad and network.training


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stack_gives_the_same_whatever_it_is_computed_with(precision, network, stacks):
    backend = TorchBackend(network, torch.device("cpu"), precision)
    together = backend(stacks)
    for order in ([0], [2], [2, 0]):
        torch.testing.assert_close(
            backend(stacks[order]), together[order], atol=1e-6 if precision == "fp32" else 0.01, rtol=0
        )
