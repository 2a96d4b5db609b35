"""Find the head on a pair of MR scans, and in it what takes a contrast medium up, by the difference of the pair.

What enhances is a matter of threshold, not of diagnosis: tumours, deep veins, venous sinuses and the choroid plexus all
do. Close below the surface nothing counts, since most that enhances there is vessels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from monai_nce.transforms.mri_intensity import FULL_SCALE

__all__ = ["REGIONS", "head_mask", "label_regions"]

REGIONS = {"head": 1, "enhancing": 2}  # the head without what enhances, and what does
FAINT = 0.1 * FULL_SCALE  # below it lies the air around a head that was not cut out
RISE = 0.3 * FULL_SCALE  # above the surroundings
SMOOTH_MM, AROUND_MM = 2.0, 20.0  # standard deviations: of what is compared, and of its surroundings
DEPTH_MM = 6.0  # below the head's surface, in plane and along z
LEAST_CM3 = 0.2


def head_mask(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Find the largest piece that either scan shows, with what it encloses: the brain alone where the rest was cut off.

    Args:
        source, target: (H, W, D), as :func:`~monai_nce.transforms.mri_intensity.scale_intensity` scales them.
    """
    pieces, sizes = _pieces((source > FAINT) | (target > FAINT))
    dark, _ = _pieces(pieces != sizes.argmax())
    # the first and last slice may cut through a ventricle
    outside = np.unique(np.concatenate([dark[[0, -1]].ravel(), dark[:, [0, -1]].ravel()]))
    return ~np.isin(dark, outside[outside > 0])


def label_regions(
    source: np.ndarray, target: np.ndarray, spacing: np.ndarray, common_scale: bool
) -> tuple[np.ndarray, dict[str, float]]:
    """Label the head with the numbers of ``REGIONS``, and give the volume of each region in cm³.

    Args:
        source, target: (H, W, D), aligned with each other, scaled.
        spacing: of the voxels in mm, three numbers.
        common_scale: both are in the same units, so that their difference is a rise; else nothing enhances.
    """
    head = head_mask(source, target)
    labels = head.astype(np.uint8) * REGIONS["head"]
    cm3 = float(np.prod(spacing)) / 1000
    if common_scale:
        rise = np.where(head, target - source, 0)
        near, wide = (_mean_around(rise, head, millimetres / spacing) for millimetres in (SMOOTH_MM, AROUND_MM))
        deep = ndimage.distance_transform_edt(head, sampling=spacing) > DEPTH_MM
        pieces, sizes = _pieces(deep & (near - wide > RISE))
        labels[np.isin(pieces, np.flatnonzero(sizes * cm3 >= LEAST_CM3))] = REGIONS["enhancing"]
    return labels, {name: round(float((labels == number).sum()) * cm3, 2) for name, number in REGIONS.items()}


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces of a mask whose voxels touch by faces, and count the voxels of each; nothing is piece 0."""
    pieces, count = ndimage.label(mask)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    return np.asarray(pieces), sizes


def _mean_around(values: np.ndarray, mask: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Average values, which are 0 outside the mask, by a Gaussian over what lies within it."""
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma)
    return np.asarray(ndimage.gaussian_filter(values.astype(np.float32), sigma) / np.maximum(weight, 1e-3))
