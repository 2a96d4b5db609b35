"""What a scanner does: resolution in plane and along the body, and noise with the right size, place and spectrum."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_nce.transforms.resampling import resample_axis
from monai_nce.virtual.acquisition import HU_RANGE, THICKNESSES, WATER, Scanner, _Geometry, sample_scanner

PIXEL, SIZE, SLICES = 2.7, 128, 6
SPACING = (PIXEL, PIXEL, 5.0)


def coordinates(size: int = SIZE, pixel: float = PIXEL) -> tuple[np.ndarray, np.ndarray]:
    line = ((np.arange(size) - (size - 1) / 2) * pixel).astype(np.float32)
    return line[:, None, None], line[None, :, None]


def cylinder(radius: float = 150.0, slices: int = SLICES, hu: float = 0.0) -> np.ndarray:
    """Water in air."""
    x, y = coordinates()
    return np.where(np.hypot(x, y) < radius, np.float32(hu), np.float32(-1000)) * np.ones(slices, np.float32)


def noise_of(scanner: Scanner, body: np.ndarray, seed: int = 0, spacing: tuple[float, ...] = SPACING) -> np.ndarray:
    """A scan's noise alone: the difference of two scans, scaled to the noise of one; air is clipped."""
    first, second = (scanner.acquire(body, spacing, np.random.default_rng([seed, n])) for n in range(2))
    return (first.astype(float) - second) / np.sqrt(2)


@pytest.mark.parametrize("scanner", [Scanner(), Scanner(thickness=1, blur=0.8), Scanner(blur=0.5, enhancement=1.5)])
def test_noise_is_as_much_as_was_asked_for(scanner: Scanner):
    body = cylinder()
    inside = body > -500
    assert noise_of(scanner, body)[inside].std() == pytest.approx(scanner.sigma(PIXEL), rel=0.1)


def test_sigma_goes_with_dose_thickness_kernel_and_pixel():
    scanner = Scanner(noise=12)
    assert scanner.sigma(0.7) == pytest.approx(12)
    assert Scanner(noise=24).sigma(2.0) == pytest.approx(2 * scanner.sigma(2.0))
    assert Scanner(thickness=1.25, noise=12).sigma(0.7) == pytest.approx(24)
    assert Scanner(blur=0.9, noise=12).sigma(0.7) < 0.7 * 12
    assert Scanner(enhancement=1.0, noise=12).sigma(0.7) > 1.3 * 12
    assert scanner.sigma(2.7) < scanner.sigma(1.4) < scanner.sigma(0.7)


def test_a_scan_drawn_on_coarse_pixels_has_the_noise_of_a_fine_one_that_is_resampled():
    """As data preparation resamples scans to the pixels that networks see."""
    scanner, fine, coarse = Scanner(thickness=2.5, noise=16), 0.8, 8 / 3
    scan = scanner.acquire(np.zeros((300, 300, 4), np.float32), (fine, fine, 2.5), np.random.default_rng(0))
    assert scan[30:-30, 30:-30].std() == pytest.approx(scanner.sigma(fine), rel=0.1)
    resampled = torch.from_numpy(scan.astype(np.float32))
    for axis in (0, 1):
        resampled = resample_axis(resampled, axis, 84, 9.0, coarse / fine)
    assert resampled[4:-4, 4:-4].std() == pytest.approx(scanner.sigma(coarse), rel=0.15)


def test_the_middle_of_a_water_cylinder_is_noisier_than_its_rim():
    body = cylinder(170)
    noise = np.concatenate([noise_of(Scanner(), body, seed) for seed in range(4)], axis=2)
    x, y = coordinates()
    distance = np.hypot(x, y)[:, :, 0]
    middle, rim = (noise[(distance >= low) & (distance < high)].std() for low, high in ((0, 40), (135, 165)))
    assert middle > 1.2 * rim


def test_noise_by_hand():
    """Before scaling: the variance of a pixel in the middle is the sum over angles of filtered independent bins."""
    scanner = Scanner()
    geometry = _Geometry.of((64, 64), (2.7, 2.7))
    rng = np.random.default_rng(0)
    white = rng.standard_normal((geometry.angles, geometry.bins, 400), dtype=np.float32)
    frequency = np.fft.rfftfreq(geometry.bins, geometry.bin)
    gain = frequency * scanner.transfer(frequency)
    filtered = np.fft.irfft(np.fft.rfft(white, axis=1) * gain[:, None], n=geometry.bins, axis=1).astype(np.float32)
    image = geometry.back_project(filtered)[31:33, 31:33]
    kernel = np.fft.irfft(gain, n=geometry.bins)
    places = geometry.places((64, 64), (2.7, 2.7))[31 * 64 + 31]
    share = places - np.floor(places)
    alike = np.sum(kernel**2), np.sum(kernel * np.roll(kernel, 1))
    variance = np.sum(((1 - share) ** 2 + share**2) * alike[0] + 2 * share * (1 - share) * alike[1])
    assert image[0, 0].std() == pytest.approx(np.sqrt(variance), rel=0.1)


def test_spectrum_of_the_noise():
    """Of filtered back-projection: frequency times the squares of kernel and interpolation, little in the corners."""
    scanner = Scanner(blur=0.9, noise=30)
    noise = noise_of(scanner, np.zeros((SIZE, SIZE, 24), np.float32))[16:112, 16:112]
    window = np.hanning(96)[:, None, None] * np.hanning(96)[None, :, None]
    power = np.square(np.abs(np.fft.fft2(noise * window, axes=(0, 1)))).mean(2)
    line = np.fft.fftfreq(96)
    frequency = np.hypot(line[:, None], line)  # of the sampling rate
    edges = np.arange(0.06, 0.47, 0.04)
    rings = [(frequency >= low) & (frequency < low + 0.04) for low in edges]
    found = np.array([power[ring].mean() for ring in rings])
    f = np.array([frequency[ring].mean() for ring in rings])
    expected = f * scanner.transfer(f / PIXEL) ** 2 * np.sinc(f) ** 4
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), rtol=0.25)
    assert power[0, 0] < 0.25 * found.max()
    assert power[frequency > 0.6].mean() < 0.15 * found.max()


def test_a_smooth_kernel_has_coarser_noise():
    body = np.zeros((SIZE, SIZE, 4), np.float32)
    alike = []
    for blur in (0.5, 0.9):
        noise = noise_of(Scanner(blur=blur), body, spacing=(0.8, 0.8, 5.0))[16:-16, 16:-16]
        alike.append((noise[1:] * noise[:-1]).mean() / noise.var())
    assert alike[1] > alike[0] + 0.1


def test_noise_is_alike_in_slices_that_overlap_and_only_there():
    body = np.zeros((64, 64, 12), np.float32)
    for distance, least, most in ((5.0, -0.05, 0.15), (2.5, 0.3, 0.7), (1.0, 0.75, 0.95)):
        noise = noise_of(Scanner(thickness=5), body, spacing=(PIXEL, PIXEL, distance))
        alike = (noise[..., 1:] * noise[..., :-1]).mean() / noise.var()
        assert least < alike < most


def test_streaks_grow_with_bone():
    """Between two dense rods, along the ray through both, there is more noise than beside it, the more the denser."""
    x, y = coordinates()
    ratios = []
    for hu in (0, 1000, 2000):
        body = cylinder(165, slices=24)
        for side in (-1, 1):
            body[np.broadcast_to(np.hypot(x - side * 95, y) < 28, body.shape)] = hu
        noise = noise_of(Scanner(noise=20), body)
        between = (np.abs(x) < 45) & (np.abs(y) < 15)
        beside = (np.abs(x) < 15) & (np.abs(y) > 40) & (np.abs(y) < 80)
        ratios.append(noise[between[:, :, 0]].std() / noise[beside[:, :, 0]].std())
    assert ratios[0] < ratios[1] < ratios[2]
    assert ratios[2] > 1.15 * ratios[0]


def test_streaks_run_along_the_rays_through_bone():
    """Noise between the rods is more alike along the line that joins them than across it."""
    x, y = coordinates()
    body = cylinder(165, slices=8)
    for side in (-1, 1):
        body[np.broadcast_to(np.hypot(x - side * 95, y) < 28, body.shape)] = 1400
    noise = noise_of(Scanner(noise=20), body)[50:78, 60:68]
    along, across = (
        (part[0] * part[1]).mean() / noise.var() for part in ((noise[4:], noise[:-4]), (noise[:, 4:], noise[:, :-4]))
    )
    assert along > across + 0.1


def test_attenuation_along_rays():
    """A water cylinder's chords, by hand."""
    geometry = _Geometry.of((SIZE, SIZE), (PIXEL, PIXEL))
    ways = geometry.ways(cylinder(120.0, 2))
    s = (np.arange(geometry.bins) - (geometry.bins - 1) / 2) * geometry.bin
    chord = WATER * 2 * np.sqrt(np.clip(120**2 - s**2, 0, None))
    near = np.abs(s) < 100
    np.testing.assert_allclose(ways[:, near].mean((0, 2)), chord[near], rtol=0.04)
    assert ways[:, np.abs(s) > 130].max() < 0.1


@pytest.mark.parametrize("hu", [-100, 40, 300])
def test_mean_is_kept(hu: float):
    body = np.full((SIZE, SIZE, 16), hu, np.float32)
    scan = Scanner(blur=0.9).acquire(body, SPACING, np.random.default_rng(0))
    assert scan.mean() == pytest.approx(hu, abs=0.2)
    disc = cylinder(150, 16, hu)
    x, y = coordinates()
    core = (np.hypot(x, y) < 120)[:, :, 0]
    assert Scanner().acquire(disc, SPACING, np.random.default_rng(1))[core].mean() == pytest.approx(hu, abs=0.5)


def test_kernel():
    """A Gaussian of the width that was asked for; with enhancement, contrast of details above its true value."""
    line = np.arange(0, 1, 0.01)
    np.testing.assert_allclose(Scanner(blur=0.7).transfer(line), np.exp(-2 * (np.pi * 0.7 * line) ** 2))
    assert Scanner(enhancement=2.0).transfer(line).max() == pytest.approx(2 * np.exp(-0.5), rel=1e-3)
    assert Scanner(enhancement=1.0).transfer(line).max() == pytest.approx(1)
    body = np.full((65, 65, 1), -1000.0, np.float32)
    body[32, 32] = 3000
    quiet = Scanner(blur=1.0, noise=1e-3)
    point = quiet.acquire(body, (0.5, 0.5, 5.0), np.random.default_rng(0))[:, 32, 0].astype(float) + 1000
    x = (np.arange(65) - 32) * 0.5
    assert np.sqrt((point * x**2).sum() / point.sum()) == pytest.approx(1.0, rel=0.05)
    assert point.argmax() == 32


@pytest.mark.parametrize("thickness", THICKNESSES)
def test_slice_profile(thickness: float):
    weights, offsets = Scanner(thickness=thickness).slice_profile()
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(weights, weights[::-1])
    np.testing.assert_allclose(np.diff(offsets), np.diff(offsets)[0], rtol=1e-4)
    assert np.diff(offsets)[0] <= 1.5
    fine = np.linspace(-thickness, thickness, 2001)
    step = offsets[1] - offsets[0]
    padded = np.pad(weights, 1), np.concatenate([[offsets[0] - step], offsets, [offsets[-1] + step]])
    profile = np.interp(fine, padded[1], padded[0])
    above = fine[profile >= profile.max() / 2]
    assert above[-1] - above[0] == pytest.approx(thickness, rel=0.1)


def test_a_point_is_seen_over_the_thickness():
    """A thin plate, seen by slices that move past it: full width at half maximum as asked for."""
    for thickness in (2.0, 5.0):
        weights, offsets = Scanner(thickness=thickness).slice_profile()
        middles = np.arange(-8, 8, 0.05)
        plate = np.clip(1 - np.abs(middles[:, None] + offsets) / (offsets[1] - offsets[0]), 0, None)
        seen = plate @ weights
        above = middles[seen >= seen.max() / 2]
        assert above[-1] - above[0] == pytest.approx(thickness, rel=0.1)


def test_range_and_type():
    body = np.zeros((32, 32, 3), np.float32)
    body[:16] = -1024
    body[16:] = 5000
    scan = Scanner().acquire(body, SPACING, np.random.default_rng(0))
    assert scan.dtype == np.int16 and scan.shape == body.shape
    assert (scan.min(), scan.max()) == HU_RANGE


@pytest.mark.parametrize("shape", [(32, 32, 1), (40, 56, 3), (33, 32, 2)])
def test_any_grid(shape: tuple[int, int, int]):
    body = np.zeros(shape, np.float32)
    scan = Scanner().acquire(body, (2.0, 2.5, 4.0), np.random.default_rng(0))
    assert scan.shape == shape
    assert scan.std() == pytest.approx(Scanner().sigma(np.sqrt(5)), rel=0.15)


def test_air_alone():
    scan = Scanner().acquire(np.full((32, 32, 2), -1000, np.float32), SPACING, np.random.default_rng(0))
    assert np.isfinite(scan).all() and scan.mean() < -980


def test_same_seed_gives_same_scan_and_another_does_not():
    body = cylinder(100)
    first, again, other = (Scanner().acquire(body, SPACING, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.mean(first[body > -500] != other[body > -500]) > 0.5


def global_noise(hu: np.ndarray, pixel: float) -> float:
    """The most frequent standard deviation in 18 mm of soft tissue: Christianson et al., AJR 2015."""
    size = max(5, round(18 / pixel) | 1)
    soft = ndimage.uniform_filter(((hu > -20) & (hu < 130)).astype(float), size) > 0.995
    mean, square = (ndimage.uniform_filter(value.astype(float), size) for value in (hu, hu.astype(float) ** 2))
    deviations = np.sqrt(np.maximum(square - mean**2, 0))[soft]
    counts, edges = np.histogram(deviations, np.arange(0, 40, 0.25))
    return float(edges[ndimage.gaussian_filter1d(counts.astype(float), 2).argmax()])


def test_noise_of_real_scans():
    """Slices of 2.5 mm with a standard kernel: the noise is in the range that is drawn, and resampled falls alike."""
    if not (folder := os.environ.get("NCE_REAL_DATA")):
        pytest.skip("NCE_REAL_DATA is not set: no real scans to compare with")
    pydicom = pytest.importorskip("pydicom")
    coarse, falls = 8 / 3, []
    for file in sorted(Path(folder, "motion_controls_2d").rglob("*.dcm")):
        dataset = pydicom.dcmread(file)
        if dataset.ConvolutionKernel != "STANDARD" or dataset.SliceThickness != 2.5:
            continue
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        pixel = float(dataset.PixelSpacing[0])
        resampled = torch.from_numpy(hu.astype(np.float32))
        for axis in (0, 1):
            resampled = resample_axis(resampled, axis, int(512 * pixel / coarse), 1.0, coarse / pixel)
        native, reduced = global_noise(hu, pixel), global_noise(resampled.numpy(), coarse)
        assert Scanner(thickness=2.5, noise=5).sigma(pixel) < native < Scanner(thickness=2.5, noise=25).sigma(pixel)
        falls.append(reduced / native / Scanner(thickness=2.5).sigma(coarse) * Scanner(thickness=2.5).sigma(pixel))
    assert len(falls) >= 3
    assert 0.75 < np.mean(falls) < 1.35


def test_settings_that_are_drawn():
    scanners = [sample_scanner(np.random.default_rng(seed)) for seed in range(300)]
    assert {scanner.thickness for scanner in scanners} == set(THICKNESSES)
    blurs = np.array([scanner.blur for scanner in scanners])
    assert 0.35 < blurs.min() < 0.55 and 0.8 < blurs.max() <= 0.9
    assert 0.05 < np.mean([scanner.enhancement > 0.5 for scanner in scanners]) < 0.3
    noise = np.array([scanner.noise for scanner in scanners])
    assert noise.min() >= 5 and noise.max() <= 25 and 9 < np.median(noise) < 13
    assert sample_scanner(np.random.default_rng(0), thickness=3.0).thickness == 3.0
    assert scanners[0] == sample_scanner(np.random.default_rng(0))


def test_the_second_scan_shares_all_but_the_dose():
    scanner = sample_scanner(np.random.default_rng(0))
    later = scanner.repeat(np.random.default_rng(1))
    assert later != scanner
    assert (later.thickness, later.blur, later.enhancement) == (scanner.thickness, scanner.blur, scanner.enhancement)
    assert later.noise == pytest.approx(scanner.noise, rel=0.4)
    assert set(scanner.note()) == {"slice_thickness", "kernel_blur", "kernel_enhancement", "noise"}
