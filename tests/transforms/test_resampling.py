from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from monai_nce.transforms import resample_axis


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100


@pytest.mark.parametrize("size", [5, 9, 12, 20, 24, 37])
def test_between_the_same_faces_it_is_pytorchs_antialiased_interpolation(size: int) -> None:
    volume = noise(1, 3, 24, 4)
    step = 24 / size
    expected = functional.interpolate(volume, size=(size, 4), mode="bilinear", antialias=True)
    torch.testing.assert_close(resample_axis(volume, 2, size, (step - 1) / 2, step), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_each_axis_is_resampled_as_if_it_were_alone(axis: int) -> None:
    volume = noise(8, 9, 10)
    alone = torch.stack(
        [resample_axis(line, 0, 4, 0.7, 1.9) for line in volume.movedim(axis, -1).reshape(-1, volume.shape[axis])]
    )
    there = resample_axis(volume, axis, 4, 0.7, 1.9).movedim(axis, -1)
    assert torch.equal(there.reshape(-1, 4), alone)


def test_a_shift_is_linear_interpolation_and_outside_is_fill() -> None:
    line = torch.tensor([0.0, 10.0, 30.0])
    moved = resample_axis(line, 0, 6, -1.25, 1.0, fill=-7.0)
    torch.testing.assert_close(moved, torch.tensor([-7.0, 0.0, 7.5, 25.0, -7.0, -7.0]))
    assert torch.equal(resample_axis(line, 0, 3, 0.0, 1.0), line)


@pytest.mark.parametrize("step", [1.0, 1.667, 2.5, 4.0])
def test_a_constant_stays_constant_and_noise_is_reduced_alike_at_any_start(step: float) -> None:
    flat = resample_axis(torch.full((60,), 40.0), 0, 10, 0.3, step)
    torch.testing.assert_close(flat, torch.full((10,), 40.0))
    if step > 2:
        stds = [float(resample_axis(noise(4000), 0, 900, start, step).std()) for start in np.linspace(3, 4, 5)]
        assert max(stds) / min(stds) < 1.1


def test_a_given_width_smooths_in_place() -> None:
    spike = torch.zeros(9)
    spike[4] = 9.0
    torch.testing.assert_close(resample_axis(spike, 0, 9, 0, 1, width=3.0)[2:7], torch.tensor([1.0, 2, 3, 2, 1]))
