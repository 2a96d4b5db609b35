"""Bring CT volumes into the paper's geometry (section 4.3.1): square pixels about the body, slices as acquired.

The paper has 256 × 256 pixels, 0.75 per mm; the default here is half as many over the same field.

A grid is a shape and an affine from voxel indices to RAS millimetres, which may hold the shear of a gantry tilt. Values
are resampled once, straight from the acquired voxels to the final grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from nibabel.affines import voxel_sizes

from monai_nce.data.scans.affine import canonical
from monai_nce.data.scans.reader import AIR_HU
from monai_nce.errors import InputError
from monai_nce.transforms import SKIN_HU, body_mask, resample_axis

__all__ = ["SIZE", "SPACING_MM", "Grid", "body_centre", "canonical", "canonical_grid", "paper_grid", "resample"]

SIZE, SPACING_MM = 128, 2.6667  # the default of train.json; the paper's are 256 and 1.3333
PARALLEL = 1e-5  # voxels per voxel that axes may lean aside
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """Shape (H, W, D) of a volume, and the 4×4 matrix from its voxel indices to RAS millimetres, float64."""

    shape: tuple[int, int, int]
    affine: np.ndarray


def canonical_grid(shape: Sequence[int], affine: np.ndarray) -> Grid:
    """Turn and flip the axes of a grid as :func:`canonical` does those of a volume."""
    turned, moved = canonical(np.broadcast_to(np.int8(0), shape), affine)
    return Grid(turned.shape, moved)


def body_centre(volume: np.ndarray) -> np.ndarray:
    """Find the centre of the body's bounding box, three voxel coordinates, by :func:`monai_nce.transforms.body_mask`.

    Args:
        volume: (H, W, D) in HU, axial slices along the last axis.

    Raises:
        InputError: if there is no body.
    """
    body = body_mask(volume[None])[0]
    if not body.any():
        raise InputError(f"no body found: nothing is above {SKIN_HU:g} HU")
    along = [np.flatnonzero(body.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    return np.array([(voxels[0] + voxels[-1]) / 2 for voxels in along])


def paper_grid(volume: np.ndarray, affine: np.ndarray, size: int = SIZE, spacing: float = SPACING_MM) -> Grid:
    """Lay the grid of the paper on a volume: centred on the body in plane, the volume's own slices.

    Centred to half a voxel, so that new pixels lie on the voxels as they do at inference, where that makes a difference
    to noise.

    Args:
        volume: (H, W, D) in HU, axial slices along the last axis, as from :func:`canonical`.
        affine: of the volume.
        size: pixels along both in-plane axes.
        spacing: distance of pixels in mm.

    Raises:
        InputError: as :func:`body_centre`.
    """
    step = np.append(spacing / voxel_sizes(affine)[:2], 1.0)  # in voxels of the volume
    first = (step - 1) / 2  # where inference has the first pixel
    start = np.rint(np.append(body_centre(volume)[:2] - step[:2] * (size - 1) / 2, 0.0) - first) + first
    to_voxels = np.diag(np.append(step, 1.0))
    to_voxels[:3, 3] = start
    return Grid((size, size, volume.shape[2]), affine @ to_voxels)


def resample(volume: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Bring a volume onto a grid by physical coordinates: linear, air outside.

    By :func:`~monai_nce.transforms.resample_axis`, as at inference, so that fine structures and noise do not alias
    along an axis that becomes coarser. An axis that keeps its spacing keeps its values.

    Args:
        volume: (H, W, D) in HU, as from :func:`canonical`; float32 when it is returned.
        affine: of the volume.
        grid: the grid wanted, its axes in the same order.
    """
    to_voxels = np.linalg.solve(affine, grid.affine)
    steps = np.diag(to_voxels)[:3]
    voxels = torch.from_numpy(np.array(volume.transpose(2, 1, 0), dtype=np.float32, order="C"))
    if (np.abs(to_voxels[:3, :3] - np.diag(steps)) < PARALLEL).all() and (steps > 0).all():
        for axis, (size, start, step) in enumerate(zip(grid.shape, to_voxels[:3, 3], steps, strict=True)):
            if (size, round(start, 6), round(step, 6)) != (volume.shape[axis], 0, 1):
                voxels = resample_axis(voxels, 2 - axis, size, start, step, fill=AIR_HU)
        return voxels.numpy().transpose(2, 1, 0)
    for axis, step in enumerate(voxel_sizes(grid.affine) / voxel_sizes(affine)):
        if step**2 > 2:  # what linear interpolation smooths afterwards is left out
            voxels = resample_axis(voxels, 2 - axis, volume.shape[axis], 0, 1, width=float(np.sqrt(step**2 - 1)))
    # in voxels throughout: ITK's images know spacing and rotation, but not the shear of a tilted gantry
    transform = sitk.AffineTransform(to_voxels[:3, :3].ravel().tolist(), to_voxels[:3, 3].tolist())
    shape = [int(n) for n in grid.shape]
    image = sitk.GetImageFromArray(voxels.numpy())
    moved = sitk.Resample(image, shape, transform, sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3, IDENTITY, AIR_HU)
    return np.asarray(sitk.GetArrayFromImage(moved)).transpose(2, 1, 0)
