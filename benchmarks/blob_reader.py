"""Read a CT as a machine that knows anatomy and looks for spots: it marks what differs from its organ.

The same reader for every image, with nothing to fit: it knows which tissue each voxel of liver, spleen and kidneys
would be in health, and takes the tissue's median in this image off. It does not look at the outermost 6 mm of an organ
nor beside its vessels, where voxels are partly something else. It averages what is left with Gaussians that match
balls of 7, 14 and 28 mm, within the organ; the standard deviation is the radius by √3, as of the blob detector of
Lindeberg (Int. J. Comput. Vis. 1998;30:79) in three dimensions. A place's score is how many times its average exceeds
the usual one of the organ (1.4826 times the median of its size, and at least 1 HU), whichever scale gives the most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["DIAMETERS", "ORGANS", "Mark", "read_scan"]

ORGANS = {  # tissues in health; its vessels are left out
    "liver": ("liver",),
    "spleen": ("spleen",),
    "kidney": ("kidney_cortex", "kidney_medulla"),
}
DIAMETERS = (7.0, 14.0, 28.0)  # mm
RIM = 6.0  # mm, a voxel or two
LEAST_SHARE = 0.3  # of what is averaged that lies in the organ
LEAST_NOISE = 1.0  # HU
LEAST_SCORE = 1.0
LEAST_VOXELS = 200  # of an organ
MOST_MARKS = 60  # of an organ


@dataclass(frozen=True)
class Mark:
    """Hold a mark: its voxel, score, HU above the organ, and the diameter in mm of what it looks like."""

    place: tuple[int, int, int]
    score: float
    contrast: float
    diameter: float


def read_scan(
    hu: NDArray[np.floating], healthy: NDArray[np.integer], labels: Mapping[str, int], spacing: Sequence[float]
) -> list[Mark]:
    """Mark what differs from its organ, the highest score first.

    Args:
        hu: the image, (H, W, D).
        healthy: its tissues in health, values of ``labels``.
        labels: values by tissue.
        spacing: of the three axes in mm.
    """
    marks = [
        mark
        for tissues in ORGANS.values()
        for mark in _read_organ(hu, [healthy == labels[name] for name in tissues], spacing)
    ]
    return sorted(marks, key=lambda mark: -mark.score)


def _read_organ(hu: NDArray[np.floating], tissues: Sequence[NDArray[np.bool_]], spacing: Sequence[float]) -> list[Mark]:
    organ = ndimage.distance_transform_edt(np.any(tissues, axis=0), sampling=spacing) > RIM
    if organ.sum() < LEAST_VOXELS:
        return []
    margin = [int(np.ceil(DIAMETERS[-1] / step)) for step in spacing]
    box = tuple(
        slice(max(places.min() - more, 0), places.max() + more + 1)
        for places, more in zip(np.nonzero(organ), margin, strict=True)
    )
    corner = [part.start for part in box]
    rest = np.zeros(hu.shape, np.float32)
    for tissue in tissues:
        if (part := tissue & organ).any():
            rest[part] = hu[part] - np.median(hu[part])
    rest, inside = rest[box], organ[box].astype(np.float32)
    found = []
    for diameter in DIAMETERS:
        sigma = [diameter / 2 / np.sqrt(3) / step for step in spacing]
        share = np.maximum(ndimage.gaussian_filter(inside, sigma), LEAST_SHARE)
        mean = np.where(inside > 0, ndimage.gaussian_filter(rest, sigma) / share, 0)
        noise = max(1.4826 * float(np.median(np.abs(mean[inside > 0]))), LEAST_NOISE)
        score = np.abs(mean) / noise
        peaks = (score == ndimage.maximum_filter(score, size=3)) & (score >= LEAST_SCORE) & (inside > 0)
        for place in np.argwhere(peaks):
            at = tuple(place)
            found.append((float(score[at]), float(mean[at]), diameter, place + corner))
    kept: list[Mark] = []
    for value, contrast, diameter, place in sorted(found, key=lambda one: -one[0]):
        away = [np.linalg.norm((place - mark.place) * spacing) - max(diameter, mark.diameter) / 2 for mark in kept]
        if len(kept) < MOST_MARKS and min(away, default=1) > 0:
            x, y, z = (int(n) for n in place)
            kept.append(Mark((x, y, z), round(value, 4), round(contrast, 3), diameter))
    return kept
