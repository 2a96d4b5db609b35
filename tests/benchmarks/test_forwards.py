from __future__ import annotations

import pytest
import torch

from benchmarks import forwards
from benchmarks.forwards import differences, gflop, measure_forwards
from monai_nce.networks import Generator


def test_operations_of_a_convolution_by_hand():
    # 4 x 6 pixels, 2 outputs, 3 inputs, 9 taps, a multiplication and an addition each
    assert gflop(torch.nn.Conv2d(3, 2, 3, padding=1), torch.zeros(1, 3, 4, 6)) == 2 * 4 * 6 * 2 * 3 * 9 / 1e9


def test_differences_are_in_hu_of_the_papers_window():
    wrong = torch.zeros(1, 1, 100, 100)
    wrong[..., :10, :10] = 0.5
    assert differences(wrong, -wrong) == pytest.approx({"mean_hu": 1.5, "p999_hu": 150.0, "patch_hu": 150.0})


def test_every_backend_is_measured_against_eager(tmp_path, monkeypatch):
    monkeypatch.setattr(forwards, "CANDIDATES", ("torch fp32", "torch bf16"))
    network = Generator(channels=(8, 4), hidden_channels=4).eval()
    result = measure_forwards(network, torch.rand(4, 3, 16, 16), tmp_path / "m.pt", 2, rounds=2, batches=2)
    assert list(result["backends"]) == ["eager fp32", "torch fp32", "torch bf16"]
    eager, exact, short = result["backends"].values()
    assert eager["faster"]["median"] == 1 and eager["seconds"]["low"] > 0
    assert exact["p999_hu"] < 0.01 < short["p999_hu"]
