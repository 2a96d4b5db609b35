"""The paper's CT geometry (section 4.3.1): 0.75 px per mm, 256 × 256 about the body, slices as acquired.

A grid is a shape and an affine from voxel indices to RAS millimetres, which may hold the shear of a gantry tilt. Values
are resampled once, straight from the acquired voxels to the final grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.affines import voxel_sizes
from scipy import ndimage

from monai_nce.data.scans.reader import AIR_HU
from monai_nce.errors import InputError

__all__ = ["Grid", "body_centre", "canonical", "paper_grid", "resample"]

BODY_HU = -300.0
FWHM_PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie.

    Attributes:
        shape: (H, W, D).
        affine: 4×4 matrix from voxel indices to RAS millimetres, float64.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray


def canonical(volume: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn and flip axes so that they run to the right, to the front and upwards, as nearly as they can.

    Args:
        volume: (H, W, D), in any axis order.
        affine: 4×4 matrix from voxel indices to RAS millimetres.

    Returns:
        The same voxels at the same places, with axial slices along the last axis, and their affine.
    """
    image = nib.as_closest_canonical(nib.Nifti1Image(volume, affine))
    return np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)


def body_centre(volume: np.ndarray) -> np.ndarray:
    """Centre of the body's bounding box: of the largest connected part above -300 HU.

    Args:
        volume: (H, W, D) in HU.

    Returns:
        Voxel coordinates, three numbers.

    Raises:
        InputError: if nothing is denser than -300 HU.
    """
    parts, count = ndimage.label(volume > BODY_HU)
    if not count:
        raise InputError(f"no body found: nothing is above {BODY_HU:g} HU")
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    box = ndimage.find_objects(parts, max_label=largest)[largest - 1]
    return np.array([(side.start + side.stop - 1) / 2 for side in box])


def paper_grid(volume: np.ndarray, affine: np.ndarray, size: int = 256, spacing: float = 1.3333) -> Grid:
    """The grid of the paper for a volume: centred on the body in plane, the volume's own slices.

    Args:
        volume: (H, W, D) in HU, axial slices along the last axis, as from :func:`canonical`.
        affine: its 4×4 matrix from voxel indices to RAS millimetres.
        size: pixels along both in-plane axes.
        spacing: distance of pixels in mm.

    Returns:
        The grid, with the axes of the volume.

    Raises:
        InputError: as :func:`body_centre`.
    """
    step = np.append(spacing / voxel_sizes(affine)[:2], 1.0)  # in voxels of the volume
    start = np.append(body_centre(volume)[:2] - step[:2] * (size - 1) / 2, 0.0)
    to_voxels = np.diag(np.append(step, 1.0))
    to_voxels[:3, 3] = start
    return Grid((size, size, volume.shape[2]), affine @ to_voxels)


def resample(volume: np.ndarray, affine: np.ndarray, grid: Grid) -> np.ndarray:
    """Bring a volume onto a grid by physical coordinates: linear, air outside.

    Along an axis that becomes coarser a Gaussian is applied before, as wide as turns the one voxel's width into the
    other's (Cardoso et al., Scale factor point spread function matching, MICCAI 2015), so that fine structures and
    noise do not alias. An axis that keeps its spacing keeps its values.

    Args:
        volume: (H, W, D) in HU, as from :func:`canonical`.
        affine: its 4×4 matrix from voxel indices to RAS millimetres.
        grid: the grid wanted, its axes in the same order.

    Returns:
        The volume in HU on the grid, float32.
    """
    # in voxels throughout: ITK's images know spacing and rotation, but not the shear of a tilted gantry
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.transpose(2, 1, 0), dtype=np.float32))
    spacing = voxel_sizes(affine)
    excess = voxel_sizes(grid.affine) ** 2 - spacing**2
    variance = np.where(excess > 1e-6, excess, 0.0) / FWHM_PER_SIGMA**2 / spacing**2
    if variance.any():
        image = sitk.DiscreteGaussian(image, variance=variance.tolist(), useImageSpacing=False)
    to_voxels = np.linalg.solve(affine, grid.affine)
    transform = sitk.AffineTransform(to_voxels[:3, :3].ravel().tolist(), to_voxels[:3, 3].tolist())
    size = [int(n) for n in grid.shape]
    moved = sitk.Resample(image, size, transform, sitk.sitkLinear, (0.0,) * 3, (1.0,) * 3, IDENTITY, AIR_HU)
    return np.asarray(sitk.GetArrayFromImage(moved)).transpose(2, 1, 0)
