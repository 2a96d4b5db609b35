"""Do what a CT scanner does to a body: blur in plane, average over slices, add the noise of its dose, round to HU.

Noise is made where it arises, in the projections, and reconstructed by filtered back-projection. So it has the spectrum
of the kernel, more of it where the way through the body is long, and streaks along rays through much bone::

    scanner = sample_scanner(np.random.default_rng(0))
    weights, offsets = scanner.slice_profile()
    fine = body(x, y, (z[:, None] + offsets).ravel())  # HU, (X, Y, Z * len(offsets))
    hu = fine.reshape(*fine.shape[:2], -1, len(offsets)) @ weights
    scan = scanner.acquire(hu, spacing, rng)  # int16
    later = scanner.repeat(rng).acquire(other, spacing, rng)  # the same patient's second scan

Sources:
    noise of a projection: 1 / N and electronic noise at low counts N = N0 exp(-p): Whiting et al., Med. Phys. 2006
    noise of a pixel from projections, and its spectrum: Riederer, Pelc and Chesler, Phys. Med. Biol. 1978;
        Kijewski and Judy, Phys. Med. Biol. 1987
    tube current by the square root of the attenuation: Gies et al., Med. Phys. 1999
    in-plane point spread nearly Gaussian: Nickoloff and Riley, Med. Phys. 1985
    slice profile of a helical scan, between a box and a bell: Polacin et al., Radiology 1992; here with slanted sides
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg, sparse

__all__ = ["HU_RANGE", "THICKNESSES", "Scanner", "sample_scanner"]

Array = NDArray[np.float32]

HU_RANGE = (-1024, 3071)  # 12 bits
THICKNESSES = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)  # mm
WATER = 0.0193  # attenuation of water per mm at 70 keV, about what 120 kVp amount to (NIST XCOM)
BODY = -500.0  # HU; more is body
REFERENCE_BLUR, REFERENCE_PIXEL, REFERENCE_THICKNESS = 0.6, 0.7, 5.0  # mm, for which ``Scanner.noise`` is told
REFERENCE_NOISE, REFERENCE_PATH = 11.0, 9.0  # HU; length of water times its attenuation where electronic noise is half
RAMP = 0.4  # of the thickness, the slanted side of the slice profile
SUB_SLICE = 1.5  # mm between samples of the profile, at most
ANGLES_PER_PIXEL = 1.0
COARSE = 6.0  # mm, the pixel in which ways through the body are measured
BOW_TIE = 150.0  # mm, radius of the water cylinder that the bow-tie filter is made for
BOW_TIE_SHARE = 0.4  # of what would make that cylinder's projections equally noisy
MODULATION = 0.5  # exponent of the tube current's modulation
LEAST_CHANGE = 0.1  # HU between twins' bodies, blurred; less is rounding
CHUNK = 2_000_000  # entries of the back-projection matrix at a time


@dataclass(frozen=True)
class Scanner:
    """Hold the settings of a scan.

    Args:
        thickness: of a slice in mm: full width of its profile at half maximum.
        blur: standard deviation of the Gaussian part of the in-plane point spread in mm.
        enhancement: how much the kernel lifts edges; 0 not at all, from 1 on details are above their true contrast.
        noise: HU, standard deviation in the body with a standard kernel, pixels of 0.7 mm and slices of 5 mm; what
            the dose decides. It goes with 1 / sqrt(dose). :meth:`sigma` tells that of the scan itself.
    """

    thickness: float = 5.0
    blur: float = REFERENCE_BLUR
    enhancement: float = 0.0
    noise: float = REFERENCE_NOISE

    def repeat(self, rng: np.random.Generator) -> Scanner:
        """Return the settings of the same patient's other scan: another dose, by a tenth or so, all else equal."""
        return replace(self, noise=float(self.noise * np.exp(rng.normal(0, 0.1))))

    def note(self) -> dict[str, float]:
        """Return the settings, rounded."""
        return {
            "slice_thickness": self.thickness,
            "kernel_blur": round(self.blur, 3),
            "kernel_enhancement": round(self.enhancement, 3),
            "noise": round(self.noise, 2),
        }

    def transfer(self, frequency: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the modulation transfer of the kernel at frequencies per mm."""
        u = 2 * (np.pi * self.blur * frequency) ** 2
        return (1 + self.enhancement * u) * np.exp(-u)

    def sigma(self, pixel: float) -> float:
        """Return the standard deviation in HU of the noise in the body, for pixels of a size in mm.

        The variance is that of the filtered projections (Kijewski and Judy 1987), over the thickness.
        """
        reference = Scanner(noise=self.noise)
        ratio = _noise_power(self, pixel) / _noise_power(reference, REFERENCE_PIXEL)
        return float(self.noise * np.sqrt(ratio * REFERENCE_THICKNESS / self.thickness))

    def slice_profile(self) -> tuple[Array, Array]:
        """Return weights that sum to one, and offsets in mm from a slice's middle at which to sample the body."""
        reach = self.thickness * (1 + RAMP) / 2
        count = int(np.ceil(reach / SUB_SLICE - 0.5))
        count = max(count, 1)
        offsets = np.arange(-count, count + 1) * (reach / (count + 0.5))
        weights = self._profile(offsets)
        return (weights / weights.sum()).astype(np.float32), offsets.astype(np.float32)

    def acquire(self, hu: Array, spacing: Sequence[float], rng: np.random.Generator) -> NDArray[np.int16]:
        """Return a scan of a body.

        Args:
            hu: ``(X, Y, Z)``, the slices as the profile averages them, without blur in plane and without noise.
            spacing: of the three axes in mm.
            rng: source of the noise.

        Returns:
            ``(X, Y, Z)`` HU. The noise has, on median over the slices, the root mean square ``sigma(pixel)`` in the
            body, as tube current follows the patient's size.
        """
        return self.acquire_twins([hu], spacing, rng)[0]

    def acquire_twins(
        self, bodies: Sequence[Array], spacing: Sequence[float], rng: np.random.Generator
    ) -> list[NDArray[np.int16]]:
        """Return a scan of each body, all with the noise of the first: where a body is like the first, its scan is too.

        Args:
            bodies: as :meth:`acquire` takes one.
            spacing: of the three axes in mm.
            rng: source of the noise.
        """
        first = np.asarray(bodies[0], np.float32)
        scan = self._blurred(first, spacing) + self._noise(first, spacing, rng)
        changes = (self._blurred(np.asarray(body, np.float32) - first, spacing) for body in bodies[1:])
        scans = [scan, *(scan + np.where(np.abs(change) < LEAST_CHANGE, 0, change) for change in changes)]
        return [np.clip(np.rint(one), *HU_RANGE).astype(np.int16) for one in scans]

    def _profile(self, offsets: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.clip(((1 + RAMP) / 2 - np.abs(offsets) / self.thickness) / RAMP, 0, 1)

    def _blurred(self, hu: Array, spacing: Sequence[float]) -> Array:
        """Apply the kernel; the image goes on mirrored at its edges."""
        fx, fy = (np.arange(n) / (2 * n * step) for n, step in zip(hu.shape[:2], spacing[:2], strict=True))
        gain = self.transfer(np.hypot(fx[:, None], fy)).astype(np.float32)
        return fft.idctn(fft.dctn(hu, axes=(0, 1)) * gain[:, :, None], axes=(0, 1)).astype(np.float32)

    def _noise(self, hu: Array, spacing: Sequence[float], rng: np.random.Generator) -> Array:
        """Return noise in HU: that of projections, filtered and projected back."""
        geometry = _Geometry.of(hu.shape[:2], spacing)
        ways = geometry.ways(hu)
        shape = (geometry.angles, geometry.bins, hu.shape[2])
        noise = rng.standard_normal(shape, dtype=np.float32) @ self._along(hu.shape[2], spacing[2])
        noise *= np.sqrt(self._variance(ways, geometry))
        frequency = fft.rfftfreq(geometry.bins, geometry.bin)
        gain = (frequency * self.transfer(frequency)).astype(np.float32)
        noise = fft.irfft(fft.rfft(noise, axis=1) * gain[:, None], n=geometry.bins, axis=1)
        image = geometry.back_project(noise)
        body = hu > BODY
        counts = np.maximum(body.sum((0, 1)), 1)
        powers = np.where(body, np.square(image), 0).sum((0, 1)) / counts
        power = np.median(powers[body.any((0, 1))]) if body.any() else np.square(image).mean()
        return image * np.float32(self.sigma(geometry.bin) / np.sqrt(power))

    def _variance(self, ways: Array, geometry: _Geometry) -> Array:
        """Return the relative variance of projections that have passed through so much attenuation."""
        s = (np.arange(geometry.bins) - (geometry.bins - 1) / 2) * geometry.bin
        chord = 2 * WATER * np.sqrt(np.clip(BOW_TIE**2 - s**2, 0, None))
        weakened = np.float32(BOW_TIE_SHARE) * (chord.max() - chord).astype(np.float32)
        longest = ways.max(1, keepdims=True)
        current = np.float32(MODULATION) * (longest - longest.mean())
        limit = np.float32(REFERENCE_PATH - 2 * np.log(self.noise / REFERENCE_NOISE))
        level = ways + weakened[:, None] - current
        level -= level.mean()
        few = ways + weakened[:, None] - current - limit
        return np.exp(level) * (1 + np.exp(few))

    def _along(self, slices: int, distance: float) -> Array:
        """Return the matrix that makes independent slices as alike as overlapping profiles make them."""
        fine = np.linspace(-1.5, 1.5, 601) * self.thickness
        profile = self._profile(fine)
        lags = np.arange(slices) * distance
        alike = np.array([profile @ self._profile(fine - lag) for lag in lags]) / (profile @ profile)
        matrix = linalg.cholesky(linalg.toeplitz(alike) + 1e-4 * np.eye(slices))
        return matrix.astype(np.float32)


def sample_scanner(rng: np.random.Generator, thickness: float | None = None) -> Scanner:
    """Draw the settings of an abdominal CT; the frequencies are choices.

    Args:
        rng: source of the settings.
        thickness: of the slices in mm; one of ``THICKNESSES`` if None.
    """
    if thickness is None:
        thickness = float(rng.choice(THICKNESSES, p=(0.1, 0.08, 0.08, 0.12, 0.12, 0.2, 0.05, 0.25)))
    sharp = rng.uniform() < 0.15
    blur = rng.uniform(0.4, 0.55) if sharp else rng.uniform(0.5, 0.9)
    enhancement = rng.uniform(0.8, 1.6) if sharp else rng.uniform(0, 0.3)
    noise = np.clip(REFERENCE_NOISE * np.exp(rng.normal(0, 0.3)), 5, 25)
    return Scanner(thickness, float(blur), float(enhancement), float(noise))


def _noise_power(scanner: Scanner, pixel: float) -> float:
    """Integrate the spectrum of the noise: ramp and kernel, and the pixel that it is interpolated to."""
    frequency = np.linspace(0, 0.5 / pixel, 2001)
    amplitude = frequency * scanner.transfer(frequency) * np.sinc(frequency * pixel) ** 2
    return float(np.square(amplitude).sum() * frequency[1])


@dataclass(frozen=True)
class _Geometry:
    """Hold the parallel beams through an image: ``angles`` over half a turn, ``bins`` of ``bin`` mm each."""

    shape: tuple[int, int]
    pixel: tuple[float, float]
    angles: int
    bins: int
    bin: float

    @classmethod
    def of(cls, shape: Sequence[int], spacing: Sequence[float]) -> _Geometry:
        pixel = (float(spacing[0]), float(spacing[1]))
        step = float(np.sqrt(pixel[0] * pixel[1]))
        width = np.hypot(shape[0] * pixel[0], shape[1] * pixel[1])
        angles = max(32, round(ANGLES_PER_PIXEL * max(shape)))
        return cls((int(shape[0]), int(shape[1])), pixel, angles, int(np.ceil(width / step)) + 3, step)

    def places(self, shape: tuple[int, int], pixel: tuple[float, float], angles: slice = slice(None)) -> Array:
        """Return ``(pixels, angles)``: where the rays through the middles of pixels meet the detector, in bins."""
        x, y = ((np.arange(n) - (n - 1) / 2) * step / self.bin for n, step in zip(shape, pixel, strict=True))
        turns = (np.arange(self.angles) * np.pi / self.angles)[angles]
        along_x, along_y = x[:, None] * np.cos(turns) + (self.bins - 1) / 2, y[:, None] * np.sin(turns)
        return (along_x[:, None].astype(np.float32) + along_y.astype(np.float32)).reshape(-1, len(turns))

    def ways(self, hu: Array) -> Array:
        """Return ``(angles, bins, Z)``: the attenuation along the rays, from pixels of about ``COARSE`` mm."""
        steps = [max(1, round(COARSE / pixel)) for pixel in self.pixel]
        pads = [(0, -n % step) for n, step in zip(self.shape, steps, strict=True)]
        density = np.clip(1 + np.pad(hu, (*pads, (0, 0)), mode="edge") * np.float32(1e-3), 0, 4)
        a, b = (n // step for n, step in zip(density.shape, steps, strict=False))
        density = density.reshape(a, steps[0], b, steps[1], -1).mean((1, 3))
        pixel = (self.pixel[0] * steps[0], self.pixel[1] * steps[1])
        width = float(np.sqrt(pixel[0] * pixel[1]))
        matrix = _projection(self, (a, b), pixel, width)
        ways = matrix @ density.reshape(a * b, -1)
        return (ways * np.float32(WATER * width)).reshape(self.angles, self.bins, -1)

    def back_project(self, projections: Array) -> Array:
        """Return ``(X, Y, Z)``: the sum of what the rays through each pixel carry."""
        count = self.shape[0] * self.shape[1]
        image = np.zeros((count, projections.shape[2]), np.float32)
        step = max(1, CHUNK // (2 * count))
        for start in range(0, self.angles, step):
            part = slice(start, min(start + step, self.angles))
            places = self.places(self.shape, self.pixel, part)
            matrix = _weights(places, self.bins)
            image += matrix @ projections[part].reshape(-1, projections.shape[2])
        return image.reshape(*self.shape, -1)


@lru_cache(maxsize=4)
def _projection(
    geometry: _Geometry, shape: tuple[int, int], pixel: tuple[float, float], width: float
) -> sparse.csr_array:
    """Return the matrix from pixels to rays: the mean over pixels of ``width`` that a ray meets, times their number."""
    places = geometry.places(shape, pixel)
    reach = width / geometry.bin  # bins
    rows, columns, values = [], [], []
    numbers = np.broadcast_to(np.arange(len(places))[:, None], places.shape)
    starts = np.arange(geometry.angles) * geometry.bins
    first = np.ceil(places - reach).astype(int)
    for offset in range(int(np.ceil(2 * reach)) + 1):
        bins = first + offset
        weight = np.clip(1 - np.abs(bins - places) / reach, 0, None)
        valid = (weight > 0) & (bins >= 0) & (bins < geometry.bins)
        rows.append((starts + bins)[valid])
        columns.append(numbers[valid])
        values.append(weight[valid].astype(np.float32))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_array(entries, shape=(geometry.angles * geometry.bins, len(places)))


def _weights(places: Array, bins: int) -> sparse.csr_array:
    """Return the matrix from rays to pixels that interpolates linearly between a detector's bins."""
    pixels, angles = places.shape
    first = np.clip(places.astype(np.int32), 0, bins - 2)
    values = np.empty((pixels, angles, 2), np.float32)
    np.subtract(places, first, out=values[..., 1])
    np.subtract(1, values[..., 1], out=values[..., 0])
    columns = np.empty((pixels, angles, 2), np.int32)
    np.add(first, np.arange(angles, dtype=np.int32) * np.int32(bins), out=columns[..., 0])
    np.add(columns[..., 0], 1, out=columns[..., 1])
    ends = np.arange(pixels + 1, dtype=np.int32) * np.int32(2 * angles)
    return sparse.csr_array((values.ravel(), columns.ravel(), ends), shape=(pixels, angles * bins))
