"""Measure soft tissue that is as bright as contrast medium makes vessels and organs.

Without contrast medium hardly any soft tissue of the trunk reaches 95 HU. What does are bones, costal cartilage and
oral contrast medium, so the spine, what lies beside dense bone and what lies near the skin are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.transforms.erode_in_plane import erode_in_plane

__all__ = ["CECT_ABOVE", "NECT_BELOW", "BrightTissue", "bright_tissue"]

TISSUE_HU = (0.0, 95.0)
BRIGHT_HU = (95.0, 450.0)
BONE_HU = 300.0
SMOOTH_HU = (20.0, 40.0)  # least and most deviation from voxel to voxel; between them the scan's own noise decides
NOISE = 1.3
DEPTH_MM, DEPTH = 25.0, 0.2  # below the skin, or as part of the body's radius where that is less
BESIDE_MM = 6.0
SPINE_MM, SPINE_RADIUS_MM, SPINE_ALONG_MM = (50.0, 60.0), 38.0, 30.0
MIDDLE = 0.3  # of the body's width to either side, where the spine is looked for
# Shares measured by `python -m benchmarks.suitability`, docs/inference.md.
NECT_BELOW, CECT_ABOVE = 0.015, 0.022


@dataclass(frozen=True)
class BrightTissue:
    """Hold how many ml of a scan's smooth soft tissue are ``bright``, and how many are ``plain``."""

    bright: float
    plain: float

    @property
    def total(self) -> float:
        """Return the soft tissue that was looked at, in ml."""
        return self.bright + self.plain

    @property
    def share(self) -> float:
        """Return the bright part of it."""
        return self.bright / self.total if self.total else 0.0


def bright_tissue(scan: CoarseScan) -> BrightTissue:
    """Measure the bright soft tissue of a scan."""
    mean, deviation = scan.mean_and_deviation()
    soft = scan.body & (mean > -20) & (mean < 400)
    noise = float(np.median(deviation[soft])) if soft.any() else 0.0
    places = scan.body & (deviation < np.clip(NOISE * noise, *SMOOTH_HU)) & _deep(scan) & ~_spine(scan)
    reach = [2 * int(BESIDE_MM / side) + 1 for side in scan.spacing]
    places &= ~ndimage.maximum_filter(scan.hu > BONE_HU, reach)
    bright = np.count_nonzero(places & (mean > BRIGHT_HU[0]) & (mean < BRIGHT_HU[1]))
    plain = np.count_nonzero(places & (mean > TISSUE_HU[0]) & (mean <= TISSUE_HU[1]))
    return BrightTissue(bright * scan.voxel_ml, plain * scan.voxel_ml)


def _deep(scan: CoarseScan) -> np.ndarray:
    """Mark what lies deeper below the skin than costal cartilage; where the image cuts the body there is no skin."""
    area = scan.body.sum(axis=(0, 1)).max(initial=0) * float(np.prod(scan.spacing[:2]))
    least = min(DEPTH_MM, DEPTH * float(np.sqrt(area / np.pi)))
    return erode_in_plane(scan.body, least, scan.spacing)


def _spine(scan: CoarseScan) -> np.ndarray:
    """Mark a disc about each slice's vertebra: where most dense bone lies together near the middle."""
    dense = np.where(scan.body, np.clip(scan.hu, BONE_HU, 900) - BONE_HU, 0)
    along = round(SPINE_ALONG_MM / float(scan.spacing[2]))
    wide, deep = (max(round(mm / float(side)), 1) for mm, side in zip(SPINE_MM, scan.spacing[:2], strict=True))
    dense = ndimage.uniform_filter(dense, (wide, deep, min(max(along, 1), dense.shape[2])), mode="constant")
    x, y = np.meshgrid(*(np.arange(size) for size in dense.shape[:2]), indexing="ij")
    spine = np.zeros_like(scan.body)
    for index in range(dense.shape[2]):
        columns = np.flatnonzero(scan.body[..., index].any(axis=1))
        if not columns.size:
            continue
        middle, width = (columns[0] + columns[-1]) / 2, columns[-1] - columns[0] + 1
        plane = dense[..., index]
        if columns[0] > 0 and columns[-1] < len(x) - 1:  # else the image cuts the body, and its middle is not known
            plane = plane * (np.abs(x - middle) < MIDDLE * width)
        if plane.max() > 5:
            at = np.unravel_index(plane.argmax(), plane.shape)
            away = np.hypot((x - at[0]) * scan.spacing[0], (y - at[1]) * scan.spacing[1])
            spine[..., index] = away < SPINE_RADIUS_MM
    return spine
