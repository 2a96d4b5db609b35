from __future__ import annotations

import pytest
import torch

from benchmarks import forwards
from benchmarks.forwards import differences, gflop, measure_forwards, spade_peer
from monai_nce.networks import Generator


def test_operations_of_a_convolution_by_hand():
    # 4 x 6 pixels, 2 outputs, 3 inputs, 9 taps, a multiplication and an addition each
    assert gflop(torch.nn.Conv2d(3, 2, 3, padding=1), torch.zeros(1, 3, 4, 6)) == 2 * 4 * 6 * 2 * 3 * 9 / 1e9


def test_differences_by_hand():
    wrong = torch.zeros(10_000)
    wrong[:5], wrong[5:20] = 1.0, 0.5
    made = differences(torch.ones(10_000), 1 + wrong)
    assert made["max_hu"] == 150
    assert made["p999_hu"] == pytest.approx(75)
    assert made["mean_hu"] == pytest.approx(150 * (5 + 7.5) / 10_000)


@pytest.mark.slow  # three processes that load torch and monai
def test_every_backend_is_measured_against_eager(tmp_path, monkeypatch):
    monkeypatch.setattr(forwards, "CANDIDATES", (("torch", "fp32"), ("torch", "bf16")))
    network = Generator(channels=(8, 4), hidden_channels=4).eval()
    result = measure_forwards(network, torch.rand(4, 3, 16, 16), tmp_path / "m.pt", 2, rounds=2, batches=2)
    assert list(result["backends"]) == ["eager fp32", "torch fp32", "torch bf16"]
    assert result["backends"]["eager fp32"]["faster"]["median"] == 1
    assert result["backends"]["torch fp32"]["max_hu"] < 0.01 < result["backends"]["torch bf16"]["max_hu"]
    assert result["backends"]["eager fp32"]["at_best"] == 1
    assert all(row["busy"] > 0 < row["at_best"] for row in result["backends"].values())


def test_the_peer_gives_images_of_the_same_size():
    with torch.no_grad():
        (image,) = spade_peer([16, 8], 8, 32)(torch.zeros(1, 3, 32, 32))
    assert image.shape == (1, 3, 32, 32)
