from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from monai_nce.metrics.complex_wavelet_ssim import STABILITY, complex_wavelet_ssim, steerable_bands


def index(pred: np.ndarray, target: np.ndarray) -> float:
    return float(complex_wavelet_ssim(torch.from_numpy(pred)[None, None], torch.from_numpy(target)[None, None]))


def by_definition(pred: np.ndarray, target: np.ndarray) -> float:
    """Sampat et al. 2009, Eq. 5, with a Fourier transform as a sum and a loop over the windows."""
    n = len(pred)
    wave = np.exp(-2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    frequency = np.array([k if k < n / 2 else k - n for k in range(n)]) / n
    values = []
    for wavelength in (4, 8, 16):
        for number in range(6):
            response = np.zeros((n, n))
            for i, j in np.ndindex(n, n):
                v, u = frequency[i], frequency[j]
                if (radius := np.hypot(v, u)) > 0 and abs(away := np.log2(radius * wavelength)) < 1:
                    towards = (u * np.cos(np.pi * number / 6) + v * np.sin(np.pi * number / 6)) / radius
                    response[i, j] = np.cos(np.pi / 2 * away) * max(towards, 0) ** 5
            one, other = (
                wave.conj() @ (response * (wave @ image @ wave)) @ wave.conj() / n**2 for image in (pred, target)
            )
            for i, j in np.ndindex(n - 6, n - 6):
                a, b = one[i : i + 7, j : j + 7], other[i : i + 7, j : j + 7]
                top = 2 * abs((a * b.conj()).sum()) + 49 * STABILITY
                values.append(top / ((abs(a) ** 2).sum() + (abs(b) ** 2).sum() + 49 * STABILITY))
    return float(np.mean(values))


def test_against_the_definition() -> None:
    pred, target = np.random.default_rng(0).uniform(-1, 1, (2, 12, 12))
    assert index(pred, target) == pytest.approx(by_definition(pred, target), rel=1e-9)


@given(st.floats(0.1, 3), st.integers(0, 7))
@settings(max_examples=8, deadline=None)
def test_of_a_wave_only_the_amplitude_counts(gain: float, shift: int) -> None:
    """Of a plane wave of 8 pixels: wherever it begins, 2 a / (1 + a²) in the bands that see it."""
    wave = np.tile(np.sin(2 * np.pi * np.arange(32) / 8), (32, 1))
    moved = gain * np.roll(wave, shift, axis=1)
    powers = [abs(np.fft.ifft2(np.fft.fft2(wave) * band.numpy())[0, 0]) ** 2 for band in steerable_bands(32, 32)]
    expected = [(2 * gain * power + STABILITY) / ((1 + gain**2) * power + STABILITY) for power in powers]
    assert index(moved, wave) == pytest.approx(np.mean(expected), rel=1e-9)


def test_it_forgives_a_displacement_that_ssim_does_not_and_sees_what_is_lost() -> None:
    y, x = np.mgrid[:64, :64] / 64
    image = np.sin(25 * x * y) * np.cos(19 * y)
    moved, flat = np.roll(image, 1, axis=0), 0.4 * image
    assert index(image, image) == pytest.approx(1)
    assert index(moved, image) > 0.9 > structural_similarity(moved, image, data_range=2)
    assert index(flat, image) < index(moved, image)
    assert index(np.zeros((64, 64)), np.full((64, 64), 0.3)) == pytest.approx(1)  # no band holds the mean
