"""Compute normalised mutual information."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import entropy

__all__ = ["normalized_mutual_information", "source_mutual_information"]

BINS = 64


def normalized_mutual_information(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Measure how far one image tells another, slice by slice, whatever its grey values.

        (H(one) + H(other)) / H(one, other)

    with the entropies of the histograms of 64 equal bins over [-1, 1] (Studholme, Hill, Hawkes: "An overlap invariant
    entropy measure of 3D medical image alignment", Pattern Recognition 32, 1999).

    Args:
        one, other: ``(D, 1, H, W)`` in [-1, 1].

    Returns:
        ``(D,)``, from 1, independent, to 2, where each value of one belongs to one value of the other.
    """
    values = []
    for pair in zip(one.double().cpu().numpy(), other.double().cpu().numpy(), strict=True):
        counts, _ = np.histogramdd([image.ravel() for image in pair], bins=BINS, range=[(-1, 1)] * 2)
        both = entropy(counts.ravel())
        alone = entropy(counts.sum(0)) + entropy(counts.sum(1))
        values.append(alone / both if both > 0 else 2.0)  # two images of one value each
    return torch.tensor(values, dtype=torch.double)


def source_mutual_information(pred: torch.Tensor, target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Ask whether the prediction kept the geometry of its source; the real image is not looked at."""
    return normalized_mutual_information(pred, source)
