"""Compute complex-wavelet SSIM, which forgives small displacements."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn.functional import avg_pool2d

__all__ = ["complex_wavelet_ssim"]

WAVELENGTHS = (4.0, 8.0, 16.0)  # pixels, at the middle of each scale
ORIENTATIONS = 6
WINDOW = 7  # pixels, as in the paper
STABILITY = 4e-4  # the paper's K for one coefficient: (0.01 · 2)², as SSIM's C1 for a data range of 2


def complex_wavelet_ssim(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compare the coefficients of a complex wavelet transform, window by window.

        (2 |Σ c_pred c_target*| + K) / (Σ |c_pred|² + Σ |c_target|² + K)

    over 7 × 7 coefficients of a band, averaged over windows, orientations and scales (Sampat, Wang, Gupta, Bovik,
    Markey: "Complex wavelet structural similarity", IEEE Trans. Image Processing 18, 2009, Eq. 5). A displacement turns
    the phase of all coefficients of a window alike and leaves the index as it is, as long as it is small against the
    band's wavelength. The bands are those of the complex steerable pyramid (Portilla, Simoncelli: Int. J. Computer
    Vision 40, 2000), not thinned out; means are not compared, since no band holds them.

    Args:
        pred, target: ``(D, 1, H, W)`` in [-1, 1].

    Returns:
        ``(D,)``, from 0 to 1, the best.
    """
    spectra = [torch.fft.fft2(volume[:, 0]) for volume in (pred, target)]
    window = min(WINDOW, *pred.shape[2:])

    def local(values: torch.Tensor) -> torch.Tensor:
        return avg_pool2d(values[:, None], window, stride=1)[:, 0]

    found = []
    for band in steerable_bands(pred.shape[2], pred.shape[3]):
        one, other = (torch.fft.ifft2(spectrum * band.to(spectrum.device, spectrum.real.dtype)) for spectrum in spectra)
        product = one * other.conj()
        shared = torch.hypot(local(product.real), local(product.imag))
        power = local(one.abs().square() + other.abs().square())
        found.append(((2 * shared + STABILITY) / (power + STABILITY)).mean(dim=(1, 2)))
    return torch.stack(found).mean(dim=0)


def steerable_bands(height: int, width: int) -> Iterator[torch.Tensor]:
    """Yield the frequency response ``(H, W)`` of each band: an octave to either side, half of the directions."""
    y, x = torch.meshgrid(
        torch.fft.fftfreq(height, dtype=torch.double), torch.fft.fftfreq(width, dtype=torch.double), indexing="ij"
    )
    octaves = torch.log2(torch.hypot(y, x).clamp(min=1e-9))
    direction = torch.atan2(y, x)
    for wavelength in WAVELENGTHS:
        away = octaves - torch.log2(torch.tensor(1 / wavelength, dtype=torch.double))
        ring = torch.where(away.abs() < 1, torch.cos(torch.pi / 2 * away), 0)
        for number in range(ORIENTATIONS):
            # one side of the spectrum only, which makes the coefficients complex
            towards = torch.cos(direction - torch.pi * number / ORIENTATIONS)
            yield ring * towards.clamp(min=0) ** (ORIENTATIONS - 1)
