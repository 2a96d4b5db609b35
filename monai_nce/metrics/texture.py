"""Compare sharpness and noise with the real image's, wherever in it they are."""

from __future__ import annotations

import torch

__all__ = ["gradient_ratio", "noise_power_db"]

RINGS = 4
FREQUENCIES = (0.25, 0.5)  # cycles per pixel: from half of the highest that pixels hold to the highest along an axis
NOTHING = 1e-6  # of the data range, which makes two flat slices alike


def gradient_ratio(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Divide the mean length of the gradient by that of the real image.

    Less than 1 where edges are blurred or noise is gone, more than 1 where noise or false edges came in. The mean
    gradient is the total variation of Rudin, Osher, Fatemi (Physica D 60, 1992).

    Args:
        pred, target: ``(D, 1, H, W)``.

    Returns:
        ``(D,)``; 1 is the best.
    """
    one, other = (_mean_gradient(volume[:, 0].double()) for volume in (pred, target))
    return (one + NOTHING) / (other + NOTHING)


def _mean_gradient(slices: torch.Tensor) -> torch.Tensor:
    down, right = slices[:, 1:, :-1] - slices[:, :-1, :-1], slices[:, :-1, 1:] - slices[:, :-1, :-1]
    return torch.hypot(down, right).mean(dim=(1, 2))


def noise_power_db(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compare the radial power spectrum with the real image's at high frequencies, in decibels.

        mean over rings of 10 log10(P_pred / P_target)

    with P the mean of |F|² in each of four rings from 0.25 to 0.5 cycles per pixel, of the slice less its mean under a
    Hann window, as for the noise power spectrum of a CT (ICRU report 87, 2012), but of the whole slice: edges count
    beside noise. Below 0 where detail or noise is missing, above where there is too much.

    Args:
        pred, target: ``(D, 1, H, W)``.

    Returns:
        ``(D,)``; 0 is the best.
    """
    height, width = pred.shape[2:]
    hann = [torch.hann_window(n + 2, periodic=False, dtype=torch.double)[1:-1] for n in (height, width)]
    taper = hann[0][:, None] * hann[1]
    radius = torch.hypot(
        torch.fft.fftfreq(height, dtype=torch.double)[:, None], torch.fft.fftfreq(width, dtype=torch.double)
    )
    low, high = FREQUENCIES
    ring = ((radius - low) / (high - low) * RINGS).floor()
    power = []
    for volume in (pred, target):
        slices = volume[:, 0].double().cpu()
        slices = (slices - slices.mean(dim=(1, 2), keepdim=True)) * taper
        power.append(torch.fft.fft2(slices).abs().square())
    least = NOTHING**2 * height * width
    found = []
    for number in range(RINGS):
        inside = ring == number
        if inside.any():  # images of a few pixels have fewer
            one, other = (spectrum[:, inside].mean(dim=1) + least for spectrum in power)
            found.append(10 * torch.log10(one / other))
    return torch.stack(found).mean(dim=0)
