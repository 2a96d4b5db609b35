"""Decide whether a volume's values are Hounsfield units, by where air, fat and soft tissue lie.

Minimum and maximum say little: padding, one stray voxel or ringing puts something below 0 into any image. In a CT air
is at -1000, fat at -100, soft tissue between 0 and 100, and what lies around the body is air, padding or, in a crop,
tissue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

__all__ = ["why_not_hounsfield"]

MAX_HU = 32767.0
MIN_VOXELS = 1000  # fewer have no shares
SAMPLE = 400_000  # voxels that are looked at
SCALED = 20.0  # an image within ± so much was scaled: noise alone is more
FAR_BELOW_AIR = -1200.0  # noise of air seldom reaches it
AIR_BELOW = -850.0
NOT_AIR_ABOVE = -900.0
LUNG = (-930.0, -200.0)
TISSUE = (-200.0, 400.0)  # fat, soft tissue, spongy bone, most contrast medium
OFFSET_TISSUE = (850.0, 1250.0)  # fat and soft tissue without their intercept of -1000 or -1024
BETWEEN = (450.0, 850.0)  # bone is commoner here than above
OFFSET_AIR = (-50.0, 174.0)
WRAPPED = (2000.0, 4200.0)  # metal has more, or one value for all that it has
EDGE_BELOW = 650.0
FLAT_LEVELS = (-750.0, -170.0)  # no air, no fat: lung lies here, but is never flat


def why_not_hounsfield(volume: np.ndarray) -> str:
    """Say in a few words why a volume's values cannot be Hounsfield units; return "" where they can be.

    Fewer than 1000 voxels are judged by their minimum and maximum alone, and so is what padding leaves of a volume.

    Args:
        volume: (H, W, D), finite, as it is stored, with its padding.
    """
    low, high = float(volume.min()), float(volume.max())
    if low >= 0:
        return "nothing lies below 0, so there is no air and no fat"
    if high > MAX_HU:
        return "a sign was lost"
    if volume.size < MIN_VOXELS:
        return ""
    values = _sample(volume)
    padding = _padding(values)
    values, edge = (part[~np.isin(part, padding)] for part in (values, _edges(volume)))
    return _Values(values, edge).fault() if values.size >= MIN_VOXELS else ""


@dataclass(frozen=True)
class _Values:
    """Hold the values of an image, and those along the edges of its box, without padding."""

    values: np.ndarray
    edge: np.ndarray

    def share(self, low: float, high: float = math.inf) -> float:
        """Return the share of values from ``low`` to ``high``."""
        return float(np.mean((self.values >= low) & (self.values <= high)))

    def edge_share(self, low: float, high: float = math.inf) -> float:
        """Return the share of the edge's values from ``low`` to ``high``; 0 where padding leaves too few."""
        return float(np.mean((self.edge >= low) & (self.edge <= high))) if self.edge.size >= 50 else 0.0

    def fault(self) -> str:
        """Return the first thing that no CT has."""
        found = (self._scaled(), self._wrapped(), self._offset(), self._no_tissue(), self._background())
        return next(filter(None, found), "")

    def _scaled(self) -> str:
        share = self.share(-SCALED, SCALED)
        return f"{share:.0%} lie within ±{SCALED:g}: they were scaled" if share >= 0.99 else ""

    def _no_tissue(self) -> str:
        tissue, any_but_air = self.share(*TISSUE), self.share(NOT_AIR_ABOVE)
        deep = self.share(-math.inf, FAR_BELOW_AIR)
        if any_but_air < 0.002:
            return "nothing lies above air"
        twice = deep >= 0.05 and tissue < 0.1
        if not twice and (tissue >= 0.25 * any_but_air or (self.share(*LUNG) >= 0.3 and deep < 0.05)):
            return ""
        doubt = f", but {deep:.0%} below {FAR_BELOW_AIR:g}: intercept applied twice?" if twice else ""
        return f"{tissue:.1%} lie from {TISSUE[0]:g} to {TISSUE[1]:g}, as fat and soft tissue do{doubt}"

    def _offset(self) -> str:
        """Find fat and soft tissue about 1000, where bone and metal have a few voxels among many of less dense bone."""
        share, between, air = self.share(*OFFSET_TISSUE), self.share(*BETWEEN), self.share(-math.inf, AIR_BELOW)
        around = self.edge_share(*OFFSET_AIR) + self.edge_share(*OFFSET_TISSUE)
        most = share + between >= 0.4
        apart = share >= 3 * between and (share >= 0.1 or (share >= 0.01 and around >= 0.5))
        if air > 0.2 * share or not (most or apart):
            return ""
        return f"{share:.0%} lie from {OFFSET_TISSUE[0]:g} to {OFFSET_TISSUE[1]:g}, and no air at -1000: raw values?"

    def _wrapped(self) -> str:
        share = self.share(*WRAPPED)
        if share < 0.03 or self.share(-math.inf, -30.0) >= 0.01:
            return ""
        return f"{share:.0%} lie above {WRAPPED[0]:g}, and no air and no fat below 0: did they wrap around?"

    def _background(self) -> str:
        """Find a background at another level than air, in an image that has no air."""
        if self.share(-math.inf, AIR_BELOW) >= 0.005:
            return ""
        # water lies at 0 too, but next to soft tissue, and fat below it
        zero, above = self.share(-20, 20), self.share(60)
        beside = self.share(-60, -20) + self.share(20, 60)
        fat = self.share(-math.inf, -60)
        if (zero >= 0.05 and beside < min(zero, above) and above >= 0.05 and fat < 0.04) or (
            self.share(0, 0) >= 0.1 and fat < 0.01
        ):
            return f"{zero:.0%} lie about 0 and hardly any below, where a CT has air and fat"
        if self.edge.size < 50:
            return ""
        first, middle, last = np.percentile(self.edge, (10, 50, 90))
        inside = self.values[self.values > last + max(2 * (last - first), 20)]
        level = float(np.median(inside)) if inside.size >= 0.05 * self.values.size else 0.0
        dark = -30 <= middle <= max(20.0, 0.05 * level) and last - first <= max(20.0, 0.15 * level)
        flat = first >= FLAT_LEVELS[0] and last <= FLAT_LEVELS[1] and 0 < last - first <= 60
        if (dark and level) or flat or first >= EDGE_BELOW:
            return f"its edges lie at {middle:.0f}, where a CT has air at -1000, or tissue"
        return ""


def _sample(volume: np.ndarray) -> np.ndarray:
    """Take every n-th voxel in the order of memory, n coprime to the lengths of the axes."""
    flat, step = volume.ravel(order="K"), max(volume.size // SAMPLE, 1)
    while math.gcd(step, math.prod(volume.shape)) > 1:
        step += 1
    return flat[::step]


def _padding(values: np.ndarray) -> np.ndarray:
    """Find values that stand for "nothing was measured here".

    They are at air or below, many voxels have exactly them, and next to them there are hardly any.
    """
    levels, counts = np.unique(values[values <= NOT_AIR_ABOVE], return_counts=True)
    upto = np.concatenate([[0], np.cumsum(counts)])
    near = upto[np.searchsorted(levels, levels + 20, "right")] - upto[np.searchsorted(levels, levels - 20)]
    return levels[(counts >= 0.005 * values.size) & (near < 1.5 * counts)]


def _edges(volume: np.ndarray) -> np.ndarray:
    """Return the values along the twelve edges of the volume's box, which are edges of its slices too."""
    ends = product(range(3), (0, -1), (0, -1))
    return np.concatenate([np.moveaxis(volume, along, 0)[:, one, other] for along, one, other in ends])
