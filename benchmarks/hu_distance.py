"""Compare the HU of organs in synthetic and real CECTs of different patients, as distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import wasserstein_distance

__all__ = ["distance", "hu_distances"]

Samples = Sequence[np.ndarray]  # voxels of one organ, an array for each scan


def distance(one: Samples, other: Samples) -> float:
    """Return the Wasserstein-1 distance in HU between two sets of scans, each scan with the same weight."""
    values = [np.concatenate(list(samples)) for samples in (one, other)]
    weights = [np.concatenate([np.full(len(scan), 1 / len(scan)) for scan in samples]) for samples in (one, other)]
    return float(wasserstein_distance(*values, *weights))


def hu_distances(
    made: Mapping[str, Mapping[str, Samples]], real: Mapping[str, Samples]
) -> dict[str, dict[str, float | None]]:
    """Measure each method's distance to the real CECTs, organ by organ.

    Args:
        made: voxels by method and organ; ``identity`` is the NECTs as they are.
        real: voxels of the real CECTs by organ.

    Returns:
        By organ: the distance of each method, and ``real``, the mean distance of one real CECT to the others, which is
        what patients alone differ by; None with fewer than two. Organs that a side lacks are left out.
    """
    rows: dict[str, dict[str, float | None]] = {}
    for organ, others in real.items():
        methods = {name: samples[organ] for name, samples in made.items() if samples.get(organ)}
        if methods and others:
            rows[organ] = {name: distance(samples, others) for name, samples in methods.items()}
            rows[organ]["real"] = _among(others)
    return rows


def _among(scans: Samples) -> float | None:
    if len(scans) < 2:
        return None
    return float(np.mean([distance([one], [other for other in scans if other is not one]) for one in scans]))
