"""Turn the signals of a voxel into how far it may be off, before calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from monai_nce.uncertainty.signals import IMAGES, SIGNALS

__all__ = ["HalfWidth", "features", "fit_half_width"]

STEPS, BATCH, RATE = 1500, 4096, 1e-2
IMAGE_SCALE = 100.0  # HU


@dataclass(frozen=True)
class HalfWidth:
    """Compute half-widths ``exp(bias + sum of weight × feature)``, by :func:`features`, in the unit of the signals.

    Attributes:
        weights: one of each of ``SIGNALS``.
        bias: added to their sum.
    """

    weights: Sequence[float]
    bias: float

    def __call__(self, signals: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - signals: ``(B, 10, ...)``
            - output: ``(B, 1, ...)``, above 0
        """
        found = features(signals)
        weights = torch.tensor(self.weights, dtype=found.dtype, device=found.device)
        return torch.tensordot(found, weights, dims=([1], [0])).add_(self.bias).exp_()[:, None]


def features(signals: torch.Tensor) -> torch.Tensor:
    """Bring signals ``(B, 10, ...)`` to a like scale: images in hundreds of HU, spreads x as ln(1 + x)."""
    if signals.ndim < 2 or signals.shape[1] != len(SIGNALS):
        raise ValueError(f"expected signals of shape (B, {len(SIGNALS)}, ...) but got {tuple(signals.shape)}")
    images, spreads = signals[:, : len(IMAGES)], signals[:, len(IMAGES) :]
    return torch.cat([images / IMAGE_SCALE, spreads.log1p()], dim=1)


def fit_half_width(
    signals: torch.Tensor, errors: torch.Tensor, coverage: float = 0.9, seed: int = 0, steps: int = STEPS
) -> HalfWidth:
    """Fit the ``coverage`` quantile of errors by their signals: quantile regression with a logarithmic link.

    The pinball loss (Koenker and Bassett, 1978) is minimised with Adam.

    Args:
        signals: of voxels, ``(N, 10)``.
        errors: of the same voxels, ``(N,)``, 0 or above.
        coverage: share of the voxels whose errors are to be smaller.
        seed: of the batches.
        steps: batches.
    """
    found = features(signals).double()
    mean, scale = found.mean(dim=0), found.std(dim=0).clamp_(min=1e-6)
    scaled = (found - mean) / scale
    target = errors.double()
    weights = torch.zeros(scaled.shape[1], dtype=torch.double, requires_grad=True)
    bias = target.quantile(coverage).clamp(min=1e-3).log().clone().requires_grad_()
    optimizer = torch.optim.Adam([weights, bias], RATE)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        drawn = torch.randint(len(scaled), (min(BATCH, len(scaled)),), generator=generator)
        missing = target[drawn] - (scaled[drawn] @ weights + bias).exp()
        loss = torch.maximum(coverage * missing, (coverage - 1) * missing).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        own = weights / scale
        return HalfWidth([round(float(value), 6) for value in own], round(float(bias - (own * mean).sum()), 6))
