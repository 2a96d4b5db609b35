"""Complete a label map to a whole torso: what an atlas leaves out is put in by its place between what it names.

Segmentations name organs, vessels, bones and some muscles; a scan shows a skin, fat, a muscular wall and lungs as well.
Here every voxel of the torso gets a structure, once for each label map. What differs between patients (the fat's
thickness, bowel contents, small vessels, lesions) is drawn in :mod:`monai_nce.virtual.tissue_map`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from monai_nce.errors import InputError
from monai_nce.virtual.label_map import LabelMap
from monai_nce.virtual.pelvis import add_pelvis, lacks_pelvis
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["ABDOMINAL", "BONES", "Anatomy", "Mask", "complete", "is_any"]

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

SPACING = 1.5  # mm, of the grid on which patients are drawn
MARGIN = 72.0  # mm around the torso in plane, for fat and skin
WALL = 11.0  # mm of muscle around the cavity where the map names none
BONES = ("bone", "vertebra", "rib", "sternum")
SKELETON = (*BONES, "costal_cartilage", "disc", "spinal_canal")
LUNGS = ("lung", "trachea")
ABDOMINAL = [
    "liver",
    "gallbladder",
    "spleen",
    "pancreas",
    "adrenal_gland",
    "kidney_right",
    "kidney_left",
    "kidney_cyst",
    "renal_pelvis",
    "ureter",
    "stomach",
    "duodenum",
    "small_bowel",
    "colon",
    "bowel",
    "urinary_bladder",
    "prostate",
    "uterus",
    "liver_lesion",
    "kidney_lesion",
    "mass",
    "effusion",
]
VESSELS = [
    "aorta",
    "artery",
    "pulmonary_vein",
    "superior_vena_cava",
    "inferior_vena_cava",
    "vein",
    "portal_vein",
    "hepatic_vein",
    "heart",
    "esophagus",
]
NEEDED = ("liver", "aorta", "vertebra")  # without these there is no torso to complete
DEPTH_GROUPS = (
    ("kidney_right", "renal_pelvis"),
    ("kidney_left", "renal_pelvis"),
    BONES,
    ("stomach",),
    ("duodenum",),
    ("small_bowel",),
    ("colon",),
    ("bowel",),
    ("urinary_bladder",),
    ("gallbladder",),
    ("aorta", "artery"),
    ("liver",),
    ("spleen",),
    ("heart",),
    ("lung",),
)


@dataclass(frozen=True)
class Anatomy:
    """Hold a torso on an isotropic grid, RAS+.

    Args:
        name: of the label map.
        structures: uint8 values of ``STRUCTURES``; background is outside the muscular trunk.
        depth: float32, mm from a voxel's centre to the border of the structure (of a group such as bones) around it.
        trunk_distance: float32, mm outside of the trunk of muscles and bones; 0 within.
        cavity: uint8, 255 inside chest and abdomen, blurred over the wall; what breathes.
        named_wall: True where a muscle or bone is the map's own and not put in here.
        spacing: of the grid in mm.
        origin: RAS mm of the first voxel.
    """

    name: str
    structures: NDArray[np.uint8]
    depth: Field
    trunk_distance: Field
    cavity: NDArray[np.uint8]
    named_wall: Mask
    spacing: float
    origin: tuple[float, float, float]

    @property
    def height(self) -> float:
        """Return how far the map reaches along the body, in mm."""
        return self.structures.shape[2] * self.spacing

    @property
    def abdomen(self) -> tuple[float, float]:
        """Return the heights in mm between which liver and kidneys lie."""
        slices = np.flatnonzero(is_any(self.structures, ("liver", "kidney_right", "kidney_left")).any((0, 1)))
        low, high = (self.origin[2] + self.spacing * float(k) for k in slices[[0, -1]])
        return low, high

    @property
    def center(self) -> tuple[float, float, float]:
        """Return the point in mm that patients are drawn about: of the trunk in plane, of the map along the body."""
        inside = np.argwhere((self.trunk_distance == 0).any(2))
        x, y = (inside.min(0) + inside.max(0)) / 2 * self.spacing + self.origin[:2]
        return float(x), float(y), self.origin[2] + (self.structures.shape[2] - 1) / 2 * self.spacing

    def slab(self, low: float, high: float) -> Anatomy:
        """Return the slices between two heights in mm, at least one."""
        count = self.structures.shape[2]
        first, last = (round((height - self.origin[2]) / self.spacing) for height in (low, high))
        first, last = min(max(first, 0), count - 1), min(max(last, 0), count - 1)
        part = np.s_[:, :, first : max(first, last) + 1]
        x, y, z = self.origin
        parts: dict[str, Any] = {
            name: value[part] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        return replace(self, **parts, origin=(x, y, z + first * self.spacing))


def complete(label_map: LabelMap, spacing: float = SPACING) -> Anatomy:
    """Give every voxel of the torso a structure.

    Args:
        label_map: of a torso; chest, abdomen and pelvis may each be missing in part.
        spacing: mm of the isotropic grid.

    Raises:
        InputError: if liver, aorta or spine are not in the map.
    """
    given, origin = _isotropic(label_map, spacing)
    if lacking := [name for name in NEEDED if not is_any(given, (name,)).any()]:
        raise InputError(f"{label_map.name}: expected a torso with {', '.join(NEEDED)} but {', '.join(lacking)} lack")
    own = np.ones(given.shape[2], bool)
    if lacks_pelvis(given, spacing):
        given = add_pelvis(given, spacing)
        made = given.shape[2] - len(own)
        own = np.pad(own, (made, 0))
        origin = (*origin[:2], origin[2] - made * spacing)
    body = given == STRUCTURES["body"]
    known = (given > 0) & ~body
    cavity = _cavity(given, spacing)
    wall = ndimage.distance_transform_edt(~cavity, sampling=spacing) < WALL
    trunk = _smooth_mask(_hulls(known | wall), (4, 4, 8), spacing) | known
    structures = np.where(known, given, 0).astype(np.uint8)
    skeleton = is_any(structures, SKELETON)
    if not is_any(given, ("spinal_canal",)).any():
        _paint(structures, _canal(structures, spacing), "spinal_canal")
    if not is_any(given, LUNGS).any():
        _paint(structures, _lungs(structures, cavity, spacing), "lung")
    named_wall = skeleton | (is_any(structures, ("muscle",)) & own)
    _paint(structures, cavity, "visceral_fat")
    _paint(structures, trunk, "muscle")
    breathing = np.clip(ndimage.gaussian_filter((cavity & ~skeleton).astype(np.float32), 1.5 / spacing), 0, 1)
    return Anatomy(
        name=label_map.name,
        structures=structures,
        depth=_depth(structures, spacing),
        trunk_distance=ndimage.distance_transform_edt(~trunk, sampling=spacing).astype(np.float32),
        cavity=np.rint(255 * breathing).astype(np.uint8),
        named_wall=named_wall,
        spacing=spacing,
        origin=origin,
    )


def is_any(structures: NDArray[np.uint8], names: Iterable[str]) -> Mask:
    """Tell where one of the named structures is."""
    table = np.zeros(256, bool)
    table[[STRUCTURES[name] for name in names]] = True
    return table[structures]


def _smooth_mask(mask: Mask, sigma: tuple[float, float, float], spacing: float) -> Mask:
    """Smooth a mask's border by a Gaussian of ``sigma`` mm; volumes keep their size where the border is flat."""
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), [value / spacing for value in sigma], mode="nearest")
    return blurred > 0.5


def _isotropic(label_map: LabelMap, spacing: float) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    """Resample to the grid by nearest neighbours, with a margin in plane around what is named."""
    step, start = np.diag(label_map.affine)[:3], label_map.affine[:3, 3]
    inside = np.argwhere(label_map.structures > 0)
    low, high = start + inside.min(0) * step, start + inside.max(0) * step
    margin = np.array([MARGIN, MARGIN, 0.0])
    origin = low - margin
    shape = np.ceil((high - low + 2 * margin) / spacing).astype(int) + 1
    places = [
        np.rint((o + spacing * np.arange(n) - s) / d).astype(int)
        for o, n, s, d in zip(origin, shape, start, step, strict=True)
    ]
    result = np.zeros(shape, np.uint8)
    valid = [(place >= 0) & (place < n) for place, n in zip(places, label_map.structures.shape, strict=True)]
    values = label_map.structures[np.ix_(*(place[ok] for place, ok in zip(places, valid, strict=True)))]
    result[np.ix_(*valid)] = values
    return result, (float(origin[0]), float(origin[1]), float(origin[2]))


def _hulls(mask: Mask) -> Mask:
    """Fill each axial slice to its convex hull."""
    filled = np.zeros_like(mask)
    x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in mask.shape[:2]), indexing="ij")
    for k in range(mask.shape[2]):
        points = np.argwhere(mask[:, :, k])
        if len(points) < 3:
            continue
        try:
            hull = ConvexHull(points)
        except QhullError:  # all on one line
            continue
        part = np.ones(mask.shape[:2], bool)
        for a, b, offset in np.unique(hull.equations.round(6), axis=0):
            part &= np.float32(a) * x + np.float32(b) * y + np.float32(offset) <= 1e-3
        filled[:, :, k] = part
    return filled


def _cavity(given: NDArray[np.uint8], spacing: float) -> Mask:
    """Find chest and abdomen: the hull of what they hold and what lies inside the ribs, without bones and muscles."""
    viscera = is_any(given, (*ABDOMINAL, *VESSELS, *LUNGS))
    cage = _hulls(is_any(given, ("rib", "costal_cartilage", "sternum")))
    inside_cage = ndimage.distance_transform_edt(cage, sampling=spacing) > 7
    solid = is_any(given, (*SKELETON, "muscle"))
    cavity = _hulls(viscera) | inside_cage
    # what lies beside the spine is no cavity: the wall is taken away with what is near to it
    near = ndimage.binary_closing(solid, iterations=max(1, round(4 / spacing)))
    return (_smooth_mask(cavity & ~near, (3, 3, 6), spacing) | viscera) & ~solid


def _canal(structures: NDArray[np.uint8], spacing: float) -> Mask:
    """Find the spinal canal: what the vertebrae enclose in a slice."""
    spine = ndimage.binary_closing(
        is_any(structures, ("vertebra", "disc", "bone")), np.ones((3, 3, 1)), iterations=round(5 / spacing)
    )
    canal = np.zeros_like(spine)
    for k in range(spine.shape[2]):
        canal[:, :, k] = ndimage.binary_fill_holes(spine[:, :, k]) & ~spine[:, :, k]
    return ndimage.binary_dilation(canal, iterations=round(3 / spacing)) & (structures == 0)


def _lungs(structures: NDArray[np.uint8], cavity: Mask, spacing: float) -> Mask:
    """Find what must be lung where the map names none: above the kidneys, with no organ above it."""
    kidneys = np.argwhere(is_any(structures, ("kidney_right", "kidney_left")))
    floor = int(kidneys[:, 2].max()) + round(15 / spacing) if len(kidneys) else structures.shape[2] // 2
    organs = is_any(structures, ABDOMINAL)
    open_above = ~(np.cumsum(organs[:, :, ::-1], axis=2)[:, :, ::-1] > 0)
    near_vessels = ndimage.binary_dilation(is_any(structures, VESSELS), iterations=round(4 / spacing))
    lungs = cavity & open_above & ~near_vessels & (structures == 0)
    lungs[:, :, :floor] = False
    return ndimage.binary_opening(lungs, iterations=max(1, round(3 / spacing)))


def _depth(structures: NDArray[np.uint8], spacing: float) -> Field:
    """Measure how deep each voxel lies in its structure, for those whose inner build matters."""
    groups = np.zeros(256, np.uint8)
    for number, names in enumerate(DEPTH_GROUPS, start=1):
        for name in names:
            groups[STRUCTURES[name]] = number
    grouped = groups[structures]
    border = np.zeros(grouped.shape, bool)
    for axis in range(3):
        low, high = ([slice(None)] * 3 for _ in range(2))
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        differ = grouped[tuple(low)] != grouped[tuple(high)]
        border[tuple(low)] |= differ
        border[tuple(high)] |= differ
    depth = ndimage.distance_transform_edt(~border, sampling=spacing).astype(np.float32)
    depth += np.float32(spacing / 2)
    depth[grouped == 0] = 0
    return depth


def _paint(structures: NDArray[np.uint8], where: Mask, name: str) -> None:
    """Name what has no name yet."""
    structures[where & (structures == 0)] = STRUCTURES[name]
