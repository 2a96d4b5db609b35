"""Pack volumes into the text that a page holds of them, smaller where they are many."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.affines import voxel_sizes

PACKING = 3  # level of ISA-L
SMALLEST = 64  # pixels of a side that is not reduced any more
__all__ = ["Packed", "average_in_plane", "pack_cases", "unpack"]


class Packed(NamedTuple):
    """Hold a case's volumes as text, by role; ``shape`` is theirs, ``factor`` how many pixels became one per side."""

    volumes: dict[str, str]
    shape: tuple[int, int, int]
    factor: int


def pack_cases(cases: list[tuple[Mapping[str, np.ndarray], np.ndarray]], limit: int) -> list[Packed]:
    """Pack the volumes of cases, all of them reduced by one factor if they are too large together.

    Each volume becomes NIfTI, gzip, base64: int16 as it is, other numbers by a slope. Reduced means that 2 × 2 pixels,
    or 3 × 3 and so on, are averaged in the plane of the slices.

    Args:
        cases: of each, volumes (H, W, D) on one grid by role, and the affine from voxel indices to RAS millimetres.
        limit: characters that they may have together; passed only by volumes of 64 × 64 pixels.
    """
    factor = 1
    while True:
        packed = [_pack(volumes, affine, factor) for volumes, affine in cases]
        size = sum(len(text) for one in packed for text in one.volumes.values())
        if size <= limit or all(sorted(one.shape)[-1] <= SMALLEST for one in packed):
            return packed
        factor += 1


def _pack(volumes: Mapping[str, np.ndarray], affine: np.ndarray, factor: int) -> Packed:
    texts, shape = {}, (0, 0, 0)
    for role, volume in volumes.items():
        reduced, matrix = average_in_plane(volume, affine, factor)
        image = nib.Nifti1Image(reduced, matrix, dtype=np.int16)
        image.header.set_xyzt_units("mm")
        texts[role] = base64.b64encode(igzip.compress(image.to_bytes(), PACKING)).decode("ascii")
        shape = reduced.shape
    return Packed(texts, shape, factor)


def average_in_plane(volume: np.ndarray, affine: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Average ``factor`` × ``factor`` voxels across the axis of the largest spacing, the last one if there are several.

    A side that is no multiple is filled up with its last voxels. Integers stay integers, rounded.

    Returns:
        The volume, and its affine.
    """
    if factor == 1:
        return volume, np.asarray(affine)
    sizes = voxel_sizes(affine).round(3)
    across = max(range(3), key=lambda axis: (sizes[axis], axis))
    steps = [1 if axis == across else factor for axis in range(3)]
    missing = [(0, -size % step) for size, step in zip(volume.shape, steps, strict=True)]
    filled = np.pad(volume, missing, mode="edge") if np.any(missing) else volume
    whole = np.issubdtype(volume.dtype, np.integer)
    total: np.ndarray = np.zeros((), np.int32 if whole else np.float32)
    for first in np.ndindex(*steps):
        total = total + filled[tuple(slice(start, None, step) for start, step in zip(first, steps, strict=True))]
    mean = total / np.float32(factor**2)
    move = np.diag([*steps, 1.0])
    move[:3, 3] = [(step - 1) / 2 for step in steps]
    return (np.rint(mean).astype(volume.dtype) if whole else mean), np.asarray(affine) @ move


def unpack(text: str) -> nib.Nifti1Image:
    """Return the image behind a text of :func:`pack_cases`."""
    return nib.Nifti1Image.from_bytes(igzip.decompress(base64.b64decode(text)))
