from __future__ import annotations

import time

import pytest
import torch

from benchmarks import contention
from monai_nce.networks import Generator


def test_training_and_inference_are_measured_and_compared(monkeypatch):
    monkeypatch.setattr(contention, "SETTLE_SECONDS", 0.2)
    threads = torch.get_num_threads()
    network = Generator(channels=(8, 4), hidden_channels=4)
    result = contention.measure_contention(network, torch.rand(2, 3, 16, 16), seconds=0.2, busy=(0, 1))
    assert torch.get_num_threads() == threads
    for work in ("training", "inference"):
        assert list(result[work]) == ["0 busy", "1 busy"] and result[work]["0 busy"]["kept"] == 1
        quiet, busy = (row["seconds"]["median"] for row in result[work].values())
        assert result[work]["1 busy"]["kept"] == pytest.approx(quiet / busy) and busy > 0


def test_iterations_before_the_threads_have_settled_are_not_counted(monkeypatch):
    monkeypatch.setattr(contention, "SETTLE_SECONDS", 0.4)

    class SlowAtFirst(Generator):
        passes = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.passes += 1
            time.sleep(0.3 if self.passes == 1 else 0.12)
            return super().forward(x)

    network = SlowAtFirst(channels=(4,), hidden_channels=4)
    times = contention._training(network, torch.rand(1, 3, 4, 4), seconds=0.3)
    assert len(times) == network.passes - 1 and min(times) >= 0.12
