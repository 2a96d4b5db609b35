"""Find lesions in a label map, and the organ around each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_nce.virtual.lesions import KINDS

__all__ = ["find_lesions"]

ORGANS = {  # tissues of the organs that a lesion is compared with
    "liver": ("liver",),
    "spleen": ("spleen",),
    "kidney": ("kidney_cortex", "kidney_medulla"),
    "pancreas": ("pancreas",),
}
LEAST_VOXELS = 12  # of a lesion, and of the organ around it
SHELL = (2, 6)  # voxels from the lesion, in plane


def find_lesions(
    numbers: NDArray[np.integer[Any]], labels: Mapping[str, int]
) -> Iterator[tuple[str, str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield kind, organ, and the voxels of each lesion and of its organ around it.

    Args:
        numbers: label map, (H, W, D).
        labels: its values, by tissue.
    """
    in_plane = ndimage.generate_binary_structure(2, 1)[:, :, None]
    if not any(kind in labels for kind in KINDS):
        return
    lesions = np.isin(numbers, [labels[kind] for kind in KINDS if kind in labels])
    for kind in (kind for kind in KINDS if kind in labels):
        pieces, count = ndimage.label(numbers == labels[kind])
        for number in range(1, count + 1):
            whole = pieces == number
            inner = ndimage.binary_erosion(whole, in_plane)
            lesion = inner if inner.sum() >= LEAST_VOXELS else whole
            near, far = (ndimage.binary_dilation(whole, in_plane, iterations=reach) for reach in SHELL)
            around = {
                organ: far & ~near & ~lesions & np.isin(numbers, [labels[name] for name in tissues if name in labels])
                for organ, tissues in ORGANS.items()
            }
            organ = max(around, key=lambda name: int(around[name].sum()))
            if lesion.sum() >= LEAST_VOXELS and around[organ].sum() >= LEAST_VOXELS:
                yield kind, organ, lesion, around[organ]
