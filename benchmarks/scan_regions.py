"""Find the regions of a scan in which the change is measured: organs, and what contrast medium leaves as it is.

Organs come from a label map where a scan has one, else from discs that were placed by hand (``scan_catalogue.json``).
Fat and bone are found by their HU in any scan; muscle as the soft tissue of the body's wall, outside outlines that were
drawn around what lies within it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.path import Path as Polygon
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from benchmarks.scan_catalogue import Disc, Outlines, Scan
from monai_nce.errors import InputError
from monai_nce.transforms import body_mask
from monai_nce.transforms.erode_in_plane import erode_in_plane
from monai_nce.virtual.label_map import read_label_map
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["BONE", "FAT", "MUSCLE", "discs_mask", "find_regions", "inside_outlines"]

FAT, BONE, MUSCLE = "fat", "bone", "muscle"
KIDNEYS = {"kidney_right", "kidney_left"}
NAMING = "totalsegmentator"
LABELLED = (
    *("liver", "spleen", "kidney_right", "kidney_left", "pancreas", "aorta", "inferior_vena_cava", "portal_vein"),
    *(MUSCLE, "gallbladder", "urinary_bladder"),
)  # that are taken from a label map

FAT_HU = (-130.0, -70.0)
SINUS_HU = 0.0  # what is below in a kidney is the fat of its sinus
BONE_HU = 200.0
MUSCLE_HU = (0.0, 80.0)  # an old patient's is 20 on average
SMOOTH_MM = 3.0  # sigma, in plane, before voxels are told apart by their HU
BONE_CM3 = 5.0  # calcifications and clips are smaller
RIM_MM = 3.0  # left out at the edge of a labelled organ, where a voxel is partly something else
SKIN_MM = 8.0
MARROW_MM = 6.0  # left out around bone, whose marrow is no muscle
SAME_MM = 0.01


def find_regions(scan: Scan) -> dict[str, np.ndarray]:
    """Find a scan's regions: masks (H, W, D) on the grid of ``scan.volume``, by their names; none is empty.

    Raises:
        InputError: if the labels are on another grid than the scan.
    """
    hu, affine = scan.volume
    sizes = voxel_sizes(affine)
    smooth = ndimage.gaussian_filter(hu, np.append(SMOOTH_MM / sizes[:2], 0.0))
    regions = _labelled(scan) if scan.labels else {}
    regions |= {name: discs_mask(discs, hu.shape, affine) for name, discs in scan.discs.items()}
    for name in KIDNEYS & set(regions):
        regions[name] &= smooth > SINUS_HU
    body = body_mask(hu[None])[0]  # without the table, whose metal is as bright as bone
    deep = erode_in_plane(body, SKIN_MM, sizes)
    regions[FAT] = deep & _between(smooth, FAT_HU)
    regions[BONE] = _bone(np.where(body, hu, 0), float(np.prod(sizes)))
    if scan.outlines:
        wall = deep & ~inside_outlines(scan.outlines, hu.shape, affine) & ~_around(hu > BONE_HU, MARROW_MM, sizes)
        wall[..., ~_drawn(scan.outlines, hu.shape[2], affine)] = False
        regions[MUSCLE] = wall & _between(smooth, MUSCLE_HU)
    return {name: mask for name, mask in regions.items() if mask.any()}


def _labelled(scan: Scan) -> dict[str, np.ndarray]:
    """Read a label map, each organ less its rim in plane."""
    assert scan.labels is not None
    hu, affine = scan.volume
    labels = read_label_map(scan.labels, NAMING)
    if labels.structures.shape != hu.shape or not np.allclose(labels.affine, affine, atol=SAME_MM):
        shapes = [" × ".join(map(str, shape)) for shape in (hu.shape, labels.structures.shape)]
        raise InputError(f"{scan.labels}: expected the grid of the scan, {shapes[0]} voxels, but got {shapes[1]}")
    sizes = voxel_sizes(affine)
    return {name: erode_in_plane(labels.structures == STRUCTURES[name], RIM_MM, sizes) for name in LABELLED}


def discs_mask(discs: Sequence[Disc], shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Mark discs ``(x, y, z, radius)`` in mm, each in the slice nearest to its z; beyond the volume there is nothing.

    A disc that is smaller than a voxel marks the voxel that it lies in.
    """
    mask = np.zeros(tuple(shape), dtype=bool)
    sizes = voxel_sizes(affine)
    for x, y, z, radius in discs:
        i, j, k = apply_affine(np.linalg.inv(affine), [x, y, z])
        k = round(k)
        if 0 <= k < shape[2]:
            across, along = ((np.arange(n) - at) * size for n, at, size in zip(shape, (i, j), sizes, strict=False))
            mask[:, :, k] |= np.hypot(across[:, None], along) <= max(radius, float(sizes[:2].max()) / 2)
    return mask


def inside_outlines(outlines: Outlines, shape: Sequence[int], affine: np.ndarray) -> np.ndarray:
    """Fill polygons, and the slices between them by their interpolated distances; below and above there is nothing.

    Args:
        outlines: ``{"z": [[x, y], ...]}`` in mm.
        shape, affine: of the grid.
    """
    i, j = np.indices(shape[:2])
    points = apply_affine(affine, np.stack([i, j, np.zeros_like(i)], axis=-1).reshape(-1, 3))[:, :2]
    sizes = voxel_sizes(affine)[:2]
    heights = sorted(outlines, key=float)
    distances = [_distance(Polygon(outlines[z]).contains_points(points).reshape(i.shape), sizes) for z in heights]
    mask = np.zeros(tuple(shape), dtype=bool)
    z = _heights(shape[2], affine)
    for k in np.flatnonzero(_drawn(outlines, shape[2], affine)):
        after = int(np.clip(np.searchsorted([float(height) for height in heights], z[k]), 1, len(heights) - 1))
        low, high = float(heights[after - 1]), float(heights[after])
        share = np.clip((z[k] - low) / (high - low), 0, 1)
        mask[:, :, k] = (1 - share) * distances[after - 1] + share * distances[after] > 0
    return mask


def _heights(depth: int, affine: np.ndarray) -> np.ndarray:
    """Return z of the slices in mm."""
    return np.asarray(affine[2, 3] + affine[2, 2] * np.arange(depth))


def _drawn(outlines: Outlines, depth: int, affine: np.ndarray) -> np.ndarray:
    """Tell which slices lie between the lowest and the highest outline, half a slice more at each end."""
    ends = [float(height) for height in outlines]
    z, half = _heights(depth, affine), abs(affine[2, 2]) / 2
    return np.asarray((z >= min(ends) - half) & (z <= max(ends) + half))


def _distance(mask: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Measure in mm to the edge of a mask, positive inside."""
    inside, outside = (ndimage.distance_transform_edt(part, sampling=sizes) for part in (mask, ~mask))
    return np.asarray(inside - outside)


def _between(hu: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    return (hu >= limits[0]) & (hu <= limits[1])


def _around(mask: np.ndarray, margin: float, sizes: np.ndarray) -> np.ndarray:
    """Add ``margin`` mm to a mask in plane, and what it then encloses."""
    grown = ~erode_in_plane(~mask, margin, sizes)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(grown, 2, 0)], axis=2)


def _bone(hu: np.ndarray, voxel_mm3: float) -> np.ndarray:
    """Mark what is above 200 HU, in connected pieces of at least 5 cm³."""
    pieces, _ = ndimage.label(hu > BONE_HU)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return np.asarray((sizes * voxel_mm3 >= 1000 * BONE_CM3)[pieces])
