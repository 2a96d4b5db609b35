"""Where the body is: outside it, nothing may change."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

__all__ = ["body_mask"]

SKIN_HU = -300.0  # between air (-1000) and fat (-100), away from both by the partial volume of the skin


def body_mask(hu: torch.Tensor | np.ndarray, threshold: float = SKIN_HU, slice_axis: int = 2) -> np.ndarray:
    """Voxels of the body: the largest thing above ``threshold``, with the gas inside it.

    Each slice's holes are filled, so lung and bowel gas belong to the body; the table and blankets do not where they
    are apart from it.

    Args:
        hu: CT in HU.
        threshold: in HU.
        slice_axis: spatial axis along which axial slices follow each other.

    Shape:
        - hu: ``(1, H, W, D)``
        - output: the same, bool; all False where nothing is above the threshold.
    """
    volume = np.asarray(hu.cpu() if isinstance(hu, torch.Tensor) else hu)
    if volume.ndim != 4 or volume.shape[0] != 1:
        raise ValueError(f"expected a volume of shape (1, H, W, D) but got {volume.shape}")
    dense = np.moveaxis(volume[0] > threshold, slice_axis, 2)
    # opening by one voxel in plane parts a thin table or tube from the skin
    in_plane = ndimage.generate_binary_structure(2, 1)[:, :, None]
    core, count = ndimage.label(ndimage.binary_opening(dense, in_plane))
    if count == 0:
        return np.zeros(volume.shape, dtype=bool)
    sizes = np.bincount(core.ravel())
    sizes[0] = 0
    body = core == sizes.argmax()
    body = ndimage.binary_dilation(body, in_plane) & dense  # what the opening took from the rim
    for z in range(body.shape[2]):
        body[:, :, z] = ndimage.binary_fill_holes(body[:, :, z])
    return np.moveaxis(body, 2, slice_axis)[None]
