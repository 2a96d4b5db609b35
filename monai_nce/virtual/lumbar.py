"""Find room for the muscles between kidneys and back: quadratus lumborum, and psoas where a map has none so high.

Many segmentations leave them out, and a torso made of these has fat there. A network that never saw muscle behind a
kidney takes it for kidney. Places are by the spine and the kidneys, proportions are choices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_nce.virtual.structures import STRUCTURES

__all__ = ["lumbar_muscles"]

Mask = NDArray[np.bool_]

WALL = ("muscle", "vertebra", "disc", "rib", "bone")  # what the muscles lie on
BESIDE = (14.0, 78.0)  # mm from the spine's middle, to either side
BEHIND = 8.0  # mm that the muscles stay behind the front of the spine
BELOW, SHORT = 20.0, 30.0  # mm: from so far below the kidneys to so far below their tops
CLEAR = 3.0  # mm of fat around a kidney


def lumbar_muscles(structures: NDArray[np.uint8], spacing: float, near: float, far: float) -> Mask:
    """Tell where there is fat between ``near`` and ``far`` mm off the back's wall, beside the lumbar spine.

    The muscles taper sideways and towards their upper end, and keep clear of the kidneys.

    Args:
        structures: (X, Y, Z) RAS+, values of ``STRUCTURES``.
        spacing: mm of its isotropic grid.
        near: mm of fat that stay between the wall and the muscles.
        far: mm to the muscles' front at their thickest place.
    """
    found = np.zeros(structures.shape, bool)
    kidneys = np.isin(structures, [STRUCTURES["kidney_right"], STRUCTURES["kidney_left"]])
    spine = np.isin(structures, [STRUCTURES["vertebra"], STRUCTURES["disc"]])
    slices = np.flatnonzero(kidneys.any((0, 1)))
    if not len(slices) or not spine.any():
        return found
    low = max(int(slices[0] - BELOW / spacing), 0)
    high = int(slices[-1] - SHORT / spacing) + 1
    middle = float(np.flatnonzero(spine.any((1, 2))).mean())
    reach = round((BESIDE[1] + 4) / spacing)
    left, right = max(round(middle) - reach, 0), round(middle) + reach + 1
    if high <= low:
        return found
    box = np.s_[left:right, : np.flatnonzero(spine.any((0, 2)))[-1] + 1, low:high]
    wall = np.isin(structures[box], [STRUCTURES[name] for name in WALL])
    shape = wall.shape
    off_wall = ndimage.distance_transform_edt(~wall, sampling=spacing)
    off_kidney = ndimage.distance_transform_edt(~kidneys[box], sampling=spacing) if kidneys[box].any() else np.inf
    beside = np.abs(np.arange(left, left + shape[0]) - middle)[:, None, None] * spacing
    front = np.array([np.flatnonzero(part.any(0)).max(initial=-1) for part in np.moveaxis(spine[box], 2, 0)])
    behind = np.arange(shape[1])[:, None] * spacing < front * spacing - BEHIND
    center, half = sum(BESIDE) / 2, (BESIDE[1] - BESIDE[0]) / 2
    taper = np.sqrt(np.clip(1 - ((beside - center) / half) ** 2, 0, None)) * np.linspace(1, 0.4, shape[2])
    fat = structures[box] == STRUCTURES["visceral_fat"]
    found[box] = fat & behind & (off_wall > near) & (off_wall < far * taper) & (off_kidney > CLEAR)
    return found
