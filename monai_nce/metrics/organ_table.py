"""Tabulate the HU of organs before and after contrast medium, and the change that the literature lets expect.

Means are over all voxels of a label, its rim too. An organ that rises as the literature says is no proof that each of
its voxels is right.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from monai_nce.data.scans.affine import in_mm, mm_apart
from monai_nce.data.scans.file_tree import ReaderWarning
from monai_nce.data.scans.in_memory import take_scan
from monai_nce.errors import InputError
from monai_nce.virtual.label_files import read_label_file
from monai_nce.virtual.naming import MAX_NUMBER, read_naming
from monai_nce.virtual.structures import STRUCTURES
from monai_nce.virtual.tissue import EXPECTED_RANGES, expected_enhancement

__all__ = ["LITERATURE", "OrganNaming", "Organs", "organ_table", "organ_text", "take_organs"]

# The literature's name for a structure, by which its rise is looked up.
LITERATURE: dict[str, str] = {
    **{name: name for name in EXPECTED_RANGES if name in STRUCTURES},
    **dict.fromkeys(("kidney_right", "kidney_left"), "kidney"),
    **dict.fromkeys(("subcutaneous_fat", "visceral_fat"), "fat"),
    "vertebra": "bone",
    **dict.fromkeys(("urinary_bladder", "gallbladder", "effusion"), "fluid"),
}
SAME_MM = 0.01  # by which the corners of one grid may differ
OrganNaming = str | PathLike[str] | Mapping[int, str]


@dataclass(frozen=True)
class Organs:
    """Hold the organs of a scan.

    Attributes:
        labels: (H, W, D) uint16 on the scan's grid: 0 is none, 1 the first of ``names``.
        names: in the order of the label numbers that they came from.
    """

    labels: np.ndarray
    names: tuple[str, ...]

    def mean(self, volume: np.ndarray) -> np.ndarray:
        """Return the mean value of each organ, of a volume (H, W, D)."""
        sums = np.bincount(self.labels.ravel(), volume.ravel(), len(self.names) + 1)
        return np.asarray(sums[1:] / self.counts)

    @property
    def counts(self) -> np.ndarray:
        """Return the number of each organ's voxels."""
        return np.bincount(self.labels.ravel(), minlength=len(self.names) + 1)[1:]


def take_organs(
    organs: Any, shape: Sequence[int], affine: np.ndarray, naming: OrganNaming = "totalsegmentator"
) -> Organs:
    """Take a label map onto a scan's grid.

    On another grid it is resampled by nearest neighbour, and a :class:`~monai_nce.data.ReaderWarning` says so.

    Args:
        organs: a NIfTI or NRRD file of label numbers; an image of nibabel, SimpleITK, ITK or MONAI; or a NumPy array on
            the scan's grid.
        shape, affine: of the scan: (H, W, D), and the 4×4 matrix from voxel indices to RAS millimetres.
        naming: what the numbers mean: ``"totalsegmentator"``, ``"spl"``, a JSON file as of
            :mod:`monai_nce.virtual.naming`, or a dictionary such as ``{5: "liver"}``. Names in the file's own header
            count before the naming's numbers. Numbers that neither has are called such as "label 7"; 0 is nothing.
            Labels with one name are put together.

    Raises:
        InputError: if the labels cannot be read, are no whole numbers from 0 to 65535, do not lie in the scan, or the
            naming is faulty.
    """
    shape, place = tuple(shape), "organs"
    names: Mapping[int, str] = {}
    if isinstance(organs, (str, PathLike)):
        file = read_label_file(Path(organs))
        numbers, own_affine, names, place = file.numbers, file.affine, file.names, str(organs)
    elif isinstance(organs, np.ndarray):
        if organs.shape != shape:
            raise InputError(f"organs: expected an array on the scan's grid, {shape}, but got {organs.shape}")
        numbers, own_affine = organs, affine
    else:
        volume = take_scan(organs).volume
        numbers, own_affine = volume.numpy(), volume.affine.numpy()
    numbers = _whole(place, numbers)
    if numbers.shape != shape or mm_apart(own_affine, affine, shape) > SAME_MM:
        numbers = _resampled(place, numbers, own_affine, shape, affine)
    if not numbers.any():
        raise InputError(f"{place}: no label lies in the scan")
    called, places = {**_names(naming, names), 0: ""}, {"": 0}
    table = np.zeros(MAX_NUMBER + 1, np.uint16)
    for number in np.flatnonzero(np.bincount(numbers.ravel(order="K"))).tolist():
        table[number] = places.setdefault(called.get(number, f"label {number}"), len(places))
    return Organs(table[numbers], tuple(places)[1:])


def _whole(place: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype.kind not in "biuf":
        raise InputError(f"{place}: expected label numbers but got data of type {numbers.dtype}")
    low, high = numbers.min(), numbers.max()  # NaN if any value is
    if not (low >= 0 and high <= MAX_NUMBER):
        raise InputError(f"{place}: expected label numbers from 0 to {MAX_NUMBER} but got {low:g} to {high:g}")
    whole = numbers.astype(np.uint16)
    if not np.array_equal(whole, numbers):
        raise InputError(f"{place}: expected whole label numbers but got fractions")
    return whole


def _resampled(
    place: str, numbers: np.ndarray, own: np.ndarray, shape: Sequence[int], affine: np.ndarray
) -> np.ndarray:
    """Take the label at each of the scan's voxels; beside the map there is none."""
    grids = ((numbers.shape, own), (shape, affine))
    sizes = [f"{' × '.join(map(str, of))} voxels of {in_mm(voxel_sizes(matrix))}" for of, matrix in grids]
    warnings.warn(
        f"{place}: lies on another grid, {sizes[0]}, than the scan, {sizes[1]}; resampled by nearest neighbour",
        ReaderWarning,
        stacklevel=4,
    )
    to_own = np.linalg.solve(own, affine)
    return ndimage.affine_transform(numbers, to_own[:3, :3], to_own[:3, 3], tuple(shape), order=0, mode="grid-constant")


def _names(naming: OrganNaming, own: Mapping[int, str]) -> dict[int, str]:
    """Return what label numbers are called; empty for the background."""
    if isinstance(naming, Mapping):
        for number, name in naming.items():
            if isinstance(number, bool) or not isinstance(number, int) or not isinstance(name, str) or not name:
                raise InputError(f"naming: expected a dictionary such as {{5: 'liver'}} but got {number!r}: {name!r}")
        return {**naming, **own}
    known = read_naming(naming)
    structures = {value: name if value else "" for name, value in STRUCTURES.items()}
    called = {number: structures[value] for number, value in known.numbers.items()}
    for number, name in own.items():
        value = known.names.get(name.lower())
        called[number] = name if value is None else structures[value]
    return called


def organ_table(
    before: np.ndarray | None,
    after: np.ndarray,
    organs: Organs,
    affine: np.ndarray,
    real: np.ndarray | None = None,
    phase: str | None = None,
) -> list[dict[str, Any]]:
    """Tabulate mean HU organ by organ.

    Args:
        before, after: the scan, if it is known, and what was made of it, (H, W, D) in HU.
        organs: on the same grid, as :func:`take_organs` gives them.
        affine: 4×4 matrix from voxel indices to RAS millimetres.
        real: the real scan with contrast medium on the same grid, where there is one.
        phase: whose rise the literature is asked for; portal if None.

    Returns:
        A row for each organ: ``organ``, its volume ``ml``, mean HU ``before`` and ``after``, ``change``, ``real`` (None
        without one), and ``expected``, the lowest and highest change that the literature lets expect of a patient, or
        None where this project has none (:data:`monai_nce.virtual.tissue.EXPECTED_RANGES` names its sources).
    """
    ml = organs.counts * abs(float(np.linalg.det(np.asarray(affine)[:3, :3]))) / 1000
    none: list[float | None] = [None] * len(organs.names)
    old, new, true = (none if volume is None else organs.mean(volume).tolist() for volume in (before, after, real))
    change = none if before is None else (organs.mean(after) - organs.mean(before)).tolist()
    rows = []
    for index, name in enumerate(organs.names):
        row = {"organ": name, "ml": float(ml[index]), "before": old[index], "after": new[index]}
        expected = expected_enhancement(LITERATURE[name], phase or "portal")[1:] if name in LITERATURE else None
        rows.append(row | {"change": change[index], "real": true[index], "expected": expected})
    return rows


def organ_text(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Write the rows as cells under a head, in whole ml and tenths of HU."""
    real = any(row["real"] is not None for row in rows)
    head = ["organ", "ml", "before HU", "after HU", "change HU", *["real HU"] * real, "literature: change HU"]
    lines = [head]
    for row in rows:
        values = [row["before"], row["after"], row["change"], *[row["real"]] * real]
        expected = "" if row["expected"] is None else "{:+g} to {:+g}".format(*row["expected"])
        cells = ["" if value is None else f"{value:.1f}" for value in values]
        lines.append([row["organ"], f"{row['ml']:.0f}", *cells, expected])
    return lines
