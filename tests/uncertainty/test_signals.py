from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_nce.errors import InputError
from monai_nce.inferers import SliceStackInferer
from monai_nce.uncertainty import SIGNALS, Signals
from monai_nce.uncertainty.signals import around


class Add(torch.nn.Module):
    """Add a constant to the slices of a stack, another for each place in it."""

    def __init__(self, first: float, middle: float, last: float) -> None:
        super().__init__()
        self.added = torch.tensor([first, middle, last])[:, None, None]

    def forward(self, stacks: torch.Tensor) -> torch.Tensor:
        return stacks + self.added


def measure(network: torch.nn.Module, back: torch.nn.Module, volume: torch.Tensor) -> dict[str, torch.Tensor]:
    made, found = Signals(SliceStackInferer(spread=True, size_divisor=1), back)(volume, network)
    assert made.shape == volume.shape and found.shape == (1, len(SIGNALS), *volume.shape[2:])
    return dict(zip(SIGNALS, found[0], strict=True))


def test_signals_by_hand():
    volume = torch.zeros(1, 1, 12, 14, 6)
    found = measure(Add(0.1, 0.2, 0.3), Add(-0.1, -0.1, -0.1), volume)
    torch.testing.assert_close(found["scan"], torch.zeros(12, 14, 6))
    torch.testing.assert_close(found["synthetic"][..., 2], torch.full((12, 14), 30.0))  # 0.2 of half a window of 300
    torch.testing.assert_close(found["change"], found["synthetic"])
    torch.testing.assert_close(found["cycle"][..., 2], torch.full((12, 14), 15.0))
    off = float(np.std([15.0, 30.0, 45.0]))
    torch.testing.assert_close(found["overlap"][..., 2], torch.full((12, 14), off), rtol=1e-3, atol=0)
    torch.testing.assert_close(found["cycle_around"], found["cycle"])
    torch.testing.assert_close(found["texture"], torch.zeros(12, 14, 6))


def test_what_follows_its_place_is_seen_when_moved():
    class Place(torch.nn.Module):
        def forward(self, stacks: torch.Tensor) -> torch.Tensor:
            return stacks + torch.linspace(0, 1, stacks.shape[2])[:, None]

    volume = torch.zeros(1, 1, 12, 14, 5)
    steady = measure(Add(0.1, 0.1, 0.1), torch.nn.Identity(), volume)
    placed = measure(Place(), torch.nn.Identity(), volume)
    assert steady["moved"].max() < 1e-4
    assert placed["moved"][0].min() > 10 and placed["overlap"].max() < 0.1  # hardly seen in the middle


def test_noise_is_texture():
    noise = torch.randn(1, 1, 64, 64, 3, generator=torch.Generator().manual_seed(0)) / 30  # 5 HU
    found = measure(torch.nn.Identity(), torch.nn.Identity(), noise)
    assert float(found["texture"].mean()) == pytest.approx(5, rel=0.1)
    assert found["cycle"].max() < 1e-3


def test_means_leave_the_rim_out():
    volume = torch.zeros(1, 2, 6, 7, 3)
    volume[0, 1, 0, 0, 1] = 9
    mean = around(volume)
    assert mean.shape == volume.shape
    assert mean[0, 1, 0, 0, 1] == 1 and mean[0, 1, 0, 0, 0] == 0 and mean[0, 0].max() == 0  # 3 × 3 are there
    assert mean[0, 1, 2, 2, 1] == pytest.approx(9 / 25)


def test_the_spread_of_predictions_is_needed():
    with pytest.raises(InputError, match="expected one that gives the spread"):
        Signals(SliceStackInferer(), torch.nn.Identity())
    with pytest.raises(InputError, match="expected a stride of 1 for the spread of overlapping predictions but got 3"):
        SliceStackInferer(stride=3, spread=True)
