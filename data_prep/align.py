"""``python -m data_prep align``: bring one scan onto another of the same patient, so that the two can be compared.

A synthetic image lies where the scan lies that it was made from; the real contrast-enhanced scan is another
breath-hold. Registered onto the scan, once and without a look at the synthetic image, it is what to compare with.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from scipy import ndimage

from monai_nce.data import read_ct
from monai_nce.data.files.writable import check_name, check_writable
from monai_nce.data.nifti.reader import is_nifti_name
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.errors import InputError

from .arguments import add_number
from .registration import grid_points, make_registration

__all__ = ["add_parser", "align"]

ALONE = ("affine", "bspline")  # that need no other pairs to learn from
LEAST_SIDE = 4  # voxels along each axis that a registration needs


def align(
    fixed: NDArray[np.float32],
    fixed_affine: NDArray[np.float64],
    moving: NDArray[np.float32],
    moving_affine: NDArray[np.float64],
    method: str = "bspline",
    seed: int = 0,
) -> NDArray[np.float32]:
    """Register ``moving`` onto the grid of ``fixed``; beyond the moving volume its edge goes on.

    It is interpolated once, linearly.

    Args:
        fixed, moving: (H, W, D) in HU, on grids of their own.
        fixed_affine, moving_affine: 4×4 matrices from voxel indices to RAS millimetres.
        method: ``affine`` or ``bspline``.
        seed: of the method.

    Raises:
        InputError: if a volume is too small or they cannot be registered.
    """
    for name, volume in (("fixed", fixed), ("moving", moving)):
        if min(volume.shape) < LEAST_SIDE:
            raise InputError(f"{name} scan: expected {LEAST_SIDE} voxels or more on each axis but got {volume.shape}")
    registration = make_registration(method, seed=seed, progress=False)
    spacing = [float(side) for side in voxel_sizes(fixed_affine)]
    onto = np.linalg.solve(moving_affine, fixed_affine)  # from voxels of the fixed to voxels of the moving

    def pulled(points: NDArray[np.float32]) -> NDArray[np.float32]:
        voxels = points / np.reshape(np.array(spacing, np.float32), (3, 1, 1, 1))
        places = np.tensordot(onto[:3, :3], voxels, axes=1) + onto[:3, 3].reshape(3, 1, 1, 1)
        return np.asarray(ndimage.map_coordinates(moving, places, order=1, mode="nearest"), np.float32)

    start = pulled(grid_points(fixed.shape, spacing))
    try:
        return pulled(registration.points(fixed, start, spacing))
    except RuntimeError as error:  # ITK's, whose last line says what went wrong
        raise InputError(f"the scans cannot be registered: {' '.join(str(error).strip().splitlines()[-1:])}") from error


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this sub-command to argparse's sub-parsers."""
    parser = commands.add_parser(
        "align",
        help="one scan registered onto another",
        description="Register the scan MOVING, such as a real CECT, onto FIXED, the NECT that a synthetic image was"
        " made from, for nce compare. Each is a DICOM folder, NIfTI, MetaImage or NRRD.",
    )
    parser.add_argument("fixed", type=Path, metavar="FIXED")
    parser.add_argument("moving", type=Path, metavar="MOVING")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.nii.gz", help="the file to write")
    parser.add_argument("--method", choices=ALONE, default="bspline", help="default: bspline, which needs elastix")
    add_number(parser, "--seed", 0, "of the method")
    parser.set_defaults(run=_run)


def _run(fixed: Path, moving: Path, output: Path, method: str, seed: int) -> int:
    if not is_nifti_name(output):
        raise InputError(f"{output}: expected the name of a file that ends in .nii or .nii.gz")
    if output.resolve() in (fixed.resolve(), moving.resolve()):
        raise InputError(f"{output}: is one of the scans itself")
    check_writable(output.parent)
    check_name(output)
    (still, affine), (moved, own) = read_ct(fixed), read_ct(moving)
    write_nifti_hu(output, align(still, affine, moved, own, method, seed), affine, f"registered by {method}")
    print(f"next: nce compare SYNTHETIC {shlex.quote(str(output))} --scan {shlex.quote(str(fixed))} --metrics all")
    return 0
