from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monai_nce.metrics.texture import gradient_ratio, noise_power_db

IMAGE = np.random.default_rng(0).normal(0, 0.2, (2, 40, 36))


def tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images)[:, None]


def test_gradient_by_hand() -> None:
    ramp = np.tile(np.arange(8.0), (8, 1))[None]
    assert gradient_ratio(tensor(3 * ramp), tensor(ramp)).item() == pytest.approx(3, rel=1e-5)
    assert gradient_ratio(tensor(0 * ramp), tensor(0 * ramp)).item() == 1
    step = np.where(np.arange(8) < 4, 0.0, 1.0)[None, None].repeat(8, 1)
    assert gradient_ratio(tensor(step), tensor(ramp)).item() == pytest.approx(1 / 7, rel=1e-4)


def test_noise_power_against_numpy() -> None:
    pred = ndimage.gaussian_filter(IMAGE, (0, 0.6, 0.6)) + 0.1
    taper = np.outer(*(np.hanning(n + 2)[1:-1] for n in IMAGE.shape[1:]))
    y, x = np.meshgrid(*(np.fft.fftfreq(n) for n in IMAGE.shape[1:]), indexing="ij")
    radius = np.hypot(y, x)
    for number, pair in enumerate(zip(pred, IMAGE, strict=True)):
        power = [np.abs(np.fft.fft2((image - image.mean()) * taper)) ** 2 for image in pair]
        rings = [(radius >= low) & (radius < low + 0.0625) for low in (0.25, 0.3125, 0.375, 0.4375)]
        expected = np.mean([10 * np.log10(power[0][ring].mean() / power[1][ring].mean()) for ring in rings])
        assert noise_power_db(tensor(pred), tensor(IMAGE))[number].item() == pytest.approx(expected, abs=1e-6)


@given(st.floats(0.2, 4), st.integers(-5, 5), st.floats(-0.5, 0.5))
@settings(max_examples=8, deadline=None)
def test_amplitude_counts_and_neither_place_nor_level(gain: float, shift: int, level: float) -> None:
    framed = np.pad(IMAGE, ((0, 0), (12, 12), (12, 12)))
    pred = gain * np.roll(framed, (shift, shift), (1, 2)) + level
    assert gradient_ratio(tensor(pred), tensor(framed)).numpy() == pytest.approx(gain, rel=1e-3)
    decibels = noise_power_db(tensor(pred), tensor(framed)).numpy()
    assert decibels == pytest.approx(20 * np.log10(gain), abs=0.01 if not shift else 2)


def test_blur_is_seen_and_noise_is() -> None:
    blurred = ndimage.gaussian_filter(IMAGE, (0, 1, 1))
    assert gradient_ratio(tensor(blurred), tensor(IMAGE)).max() < 0.5
    assert noise_power_db(tensor(blurred), tensor(IMAGE)).max() < -6
    assert noise_power_db(tensor(0 * IMAGE), tensor(0 * IMAGE)).abs().max() == 0
    assert noise_power_db(tensor(2 * IMAGE[:, :7, :7]), tensor(IMAGE[:, :7, :7])).numpy() == pytest.approx(
        6.02, abs=0.01
    )
