"""Compute the error that is left when tissue may lie some millimetres away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn.functional import pad

__all__ = ["TOLERANCE_MM", "tolerant_mae"]

TOLERANCE_MM = 5.0


def tolerant_mae(
    pred: torch.Tensor, target: torch.Tensor, spacing: Sequence[float], tolerance: float = TOLERANCE_MM
) -> torch.Tensor:
    """Average over pixels the least absolute difference to any voxel within a distance, in both directions.

        E = ½ mean_x min_{|d| ≤ n} |pred(x) - target(x + d)| + ½ mean_x min_{|d| ≤ n} |target(x) - pred(x + d)|

    As the gamma index of radiotherapy (Low et al., Medical Physics 25, 1998) and the deformable match error of optical
    flow it forgives a displacement of up to n mm. The first term alone asks whether what is shown is anywhere near in
    the real image, and there is a mean value to be found everywhere: it favours blur. The second asks whether what is
    real is shown, noise and thin vessels too, and does not. Hence both.

    Args:
        pred, target: ``(D, 1, H, W)``.
        spacing: sides of a voxel along H, W and D in mm.
        tolerance: n, in mm; slices that are nearer than that count as well.

    Returns:
        ``(D,)``, 0 where each finds the other.
    """
    reach = [int(tolerance / side) for side in (spacing[2], spacing[0], spacing[1])]  # along D, H, W
    volumes = [volume[:, 0] for volume in (pred, target)]
    found = []
    for one, other in (volumes, volumes[::-1]):
        # nothing lies beyond the volume
        beyond = pad(other, [n for side in reversed(reach) for n in (side, side)], value=torch.inf)
        least = torch.full_like(one, torch.inf)
        for z, y, x in _offsets(reach, spacing, tolerance):
            moved = beyond[z : z + one.shape[0], y : y + one.shape[1], x : x + one.shape[2]]
            least = torch.minimum(least, (one - moved).abs())
        found.append(least.mean(dim=(1, 2)))
    return (found[0] + found[1]) / 2


def _offsets(reach: Sequence[int], spacing: Sequence[float], tolerance: float) -> Iterator[tuple[int, int, int]]:
    """Yield the places within the distance, counted from the corner of the padded volume."""
    for place in np.ndindex(*(2 * side + 1 for side in reach)):
        z, y, x = (n - side for n, side in zip(place, reach, strict=True))
        if np.hypot(np.hypot(z * spacing[2], y * spacing[0]), x * spacing[1]) <= tolerance:
            yield place[0], place[1], place[2]
