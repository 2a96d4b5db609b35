"""Read a segmented CT as a map of structures: one file of label numbers, or a folder with a mask for each structure."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from os import PathLike
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.errors import InputError
from monai_nce.virtual.label_files import LABEL_SUFFIXES, LabelFile, is_label_name, label_stem, read_label_file
from monai_nce.virtual.naming import Naming, read_naming
from monai_nce.virtual.plausibility import check_plausible
from monai_nce.virtual.structures import STRUCTURES

__all__ = ["LabelMap", "label_map_files", "read_label_map"]

SEGMENTATIONS = (
    "segmentations"  # folder inside a patient's, in TotalSegmentator's data set; also a name that says little
)
VAGUE = {SEGMENTATIONS, "segmentation", "seg", "mask", "labels", "label", "organs", "total"}
STRAIGHT_DEGREES = 1.0  # axes that lean less are taken to be straight
SAME_GRID_MM = 1e-3  # by which affines may differ for rounding
SHOWN = 5  # labels or files that an error lists
# Where masks overlap, the last of these wins: general before specific, vessels after the organs that they run through.
LATE = ("portal_vein", "hepatic_vein", "liver_lesion", "kidney_lesion", "mass", "effusion")
EARLY = ("bowel",)  # small bowel and colon say more
BY_DETAIL = ("background", *EARLY, *(name for name in STRUCTURES if name not in ("background", *EARLY, *LATE)), *LATE)


@dataclass(frozen=True)
class LabelMap:
    """Hold the structures of one segmented CT.

    Attributes:
        structures: (X, Y, Z) uint8, values of :data:`~monai_nce.virtual.structures.STRUCTURES`; axes to the right, to
            the front and upwards.
        affine: 4×4 matrix from voxel indices to RAS millimetres, float64, diagonal and positive.
        name: of its file or folder.
    """

    structures: np.ndarray
    affine: np.ndarray
    name: str


def read_label_map(path: str | PathLike[str], naming: str | PathLike[str]) -> LabelMap:
    """Read a segmented CT.

    Where masks of a folder overlap, the more specific structure wins, whatever the files' order. A grid that is rotated
    by more than a degree is resampled by nearest neighbour onto one that is not; beside it is background. Where the
    naming corrects a header's spacing, a :class:`~monai_nce.data.scans.file_tree.ReaderWarning` says so.

    Args:
        path: a NIfTI or NRRD file of label numbers; or a folder with one such file, or with one mask for each structure
            (``liver.nii.gz``, ``kidney_left.nii.gz``, …), directly or in ``segmentations``.
        naming: what the numbers and names mean: ``"totalsegmentator"``, ``"spl"`` or a JSON file, see
            :mod:`monai_nce.virtual.naming`. Where a file's header names its numbers, as TotalSegmentator's does, the
            names count.

    Raises:
        InputError: if a file cannot be read or is no label map in mm; the naming is faulty, or does not know a number
            or name; masks have different grids; or the structures are not those of a torso, see
            :func:`~monai_nce.virtual.plausibility.check_plausible`.
    """
    path = Path(path)
    known = read_naming(naming)
    if path.is_dir():
        structures, affine = _read_folder(path, known)
    elif path.exists():
        structures, affine = _structures_of(path, read_label_file(path), known)
    else:
        raise InputError(f"{path}: no such file or folder")
    structures, affine = _straight(structures, _corrected(path, affine, known))
    check_plausible(path, structures, affine, known.title)
    return LabelMap(structures, affine, _name(path))


def label_map_files(path: Path) -> list[Path]:
    """List the files that :func:`read_label_map` reads: the one of all labels, or those of a folder, sorted.

    Raises:
        InputError: if there are none.
    """
    if path.is_file():
        return [path]
    inner = path / SEGMENTATIONS
    folder = inner if inner.is_dir() else path
    if not folder.exists():
        raise InputError(f"{path}: no such file or folder")
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith(".") and is_label_name(file))
    except OSError as error:
        raise InputError(f"{folder}: not a readable folder") from error
    if not files:
        raise InputError(f"{folder}: holds no label map ({', '.join(LABEL_SUFFIXES)})")
    return files


def _name(path: Path) -> str:
    path = path.resolve()
    name = path.name if path.is_dir() else label_stem(path)
    return path.parent.name if name.lower() in VAGUE and path.parent.name else name


def _structures_of(path: Path, file: LabelFile, naming: Naming) -> tuple[np.ndarray, np.ndarray]:
    """Turn the numbers of a file into structures."""
    counts = np.bincount(file.numbers.ravel(order="K"))
    found = [int(number) for number in np.flatnonzero(counts)]
    table: dict[int, int] = {number: naming.numbers[number] for number in found if number in naming.numbers}
    names = {number: file.names[number] for number in found if number in file.names}
    if any(name.lower() in naming.names for name in names.values()):
        table = {number: naming.names[name.lower()] for number, name in names.items() if name.lower() in naming.names}
        table[0] = 0
    unknown = [number for number in found if number not in table]
    if unknown:
        listed = [f"{number}{_called(names.get(number))} ({counts[number]} voxels)" for number in unknown]
        many = sum(counts[unknown]) * 2 > sum(counts[1:])
        raise InputError(
            f"{path}: {len(unknown)} of {len(found) - (0 in found)} labels are not in the naming {naming.title}: "
            + _first(listed)
            + ("; is it another naming's map?" if many else "")
        )
    values = np.zeros(len(counts), np.uint8)
    for number, value in table.items():
        if number < len(values):
            values[number] = value
    return values[file.numbers], file.affine


def _corrected(path: Path, affine: np.ndarray, naming: Naming) -> np.ndarray:
    """Put right the voxels' sizes where the naming knows that the header has them wrong."""
    if naming.spacing is None or not np.allclose(voxel_sizes(affine), naming.spacing[0], atol=SAME_GRID_MM):
        return affine
    wrong, right = (" × ".join(f"{size:g}" for size in sizes) for sizes in naming.spacing)
    warnings.warn(
        f"{path}: the header's voxels of {wrong} mm are known to be wrong; read as {right} mm",
        ReaderWarning,
        stacklevel=2,
    )
    return affine @ np.diag([*np.divide(naming.spacing[1], naming.spacing[0]), 1.0])


def _called(name: str | None) -> str:
    return f" {name}" if name else ""


def _first(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")


def _read_folder(path: Path, naming: Naming) -> tuple[np.ndarray, np.ndarray]:
    files = label_map_files(path)
    folder = files[0].parent
    unknown = [file for file in files if label_stem(file).lower() not in naming.names]
    if len(files) == 1 and unknown:
        return _structures_of(files[0], read_label_file(files[0]), naming)
    if unknown:
        listed = _first(file.name for file in unknown)
        raise InputError(
            f"{folder}: {len(unknown)} of {len(files)} files are not in the naming {naming.title}: {listed}"
        )
    return _paint([(naming.names[label_stem(file).lower()], file) for file in files])


def _paint(masks: list[tuple[int, Path]]) -> tuple[np.ndarray, np.ndarray]:
    """Put masks, each a value of ``STRUCTURES`` and a file, into one map."""
    order = {STRUCTURES[name]: place for place, name in enumerate(BY_DETAIL)}
    masks = sorted(masks, key=lambda mask: (order[mask[0]], mask[1].name))
    structures: np.ndarray | None = None
    for value, path in masks:
        file = read_label_file(path)
        if structures is None:
            structures, affine, first = np.zeros(file.numbers.shape, np.uint8), file.affine, path
        if file.numbers.shape != structures.shape or not np.allclose(file.affine, affine, rtol=0, atol=SAME_GRID_MM):
            got, expected = _grid(file.numbers, file.affine), _grid(structures, affine)
            raise InputError(f"{path}: expected the grid of {first.name} ({expected}) but got {got}")
        inside = file.numbers > 0
        if (file.numbers[inside] != file.numbers.max()).any():
            numbers = _first(str(number) for number in np.unique(file.numbers[inside]))
            raise InputError(f"{path}: expected a mask of one structure but got the labels {numbers}")
        structures[inside] = value
    assert structures is not None
    return structures, affine


def _grid(volume: np.ndarray, affine: np.ndarray) -> str:
    sizes = " × ".join(str(size) for size in volume.shape)
    spacings = " × ".join(f"{spacing:g}" for spacing in voxel_sizes(affine))
    origin = ", ".join(f"{place:.1f}" for place in affine[:3, 3])
    return f"{sizes} voxels of {spacings} mm from {origin}"


def _straight(structures: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring a map into the order and direction of RAS+ axes."""
    image = nib.as_closest_canonical(nib.Nifti1Image(structures, affine))
    structures, affine = np.asarray(image.dataobj), np.asarray(image.affine, dtype=np.float64)
    spacing = voxel_sizes(affine)
    size = np.array(structures.shape)
    straight = np.diag(np.append(spacing, 1.0))
    lean = np.degrees(np.arccos(np.clip(np.diag(affine)[:3] / spacing, -1, 1)))
    if lean.max() <= STRAIGHT_DEGREES:
        straight[:3, 3] = apply_affine(affine, (size - 1) / 2) - spacing * (size - 1) / 2  # turned about its centre
        return np.ascontiguousarray(structures), straight
    corners = apply_affine(affine, np.array(list(product(*((-0.5, length - 0.5) for length in size)))))
    straight[:3, 3] = corners.min(0) + spacing / 2
    shape = tuple(int(length) for length in np.ceil(np.ptp(corners, axis=0) / spacing - 1e-6))
    to_voxels = np.linalg.solve(affine, straight)
    return ndimage.affine_transform(
        structures, to_voxels[:3, :3], to_voxels[:3, 3], shape, order=0, mode="grid-constant"
    ), straight
