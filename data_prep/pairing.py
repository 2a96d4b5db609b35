"""Rank a patient's pairs of NECT and CECT by study, phase, time and the slices that they share.

A CECT slice is shared where the middle of the body and four points around it lie between the NECT's first and last
slice. Slices that are not shared are cut off, since there is nothing to fill them with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.orientations import io_orientation

from monai_nce.data.dataset.slice_stack_dataset import ALIKE
from monai_nce.data.scans.found import FoundVolume

from .geometry import Grid
from .phases import enhanced_order

__all__ = ["Place", "hours_apart", "is_axial", "rank_pairs", "same_study", "shared_slices", "shift_mm"]

FIELD = 0.25  # how far from the middle the points lie, as a share of the image
HALF = 0.5  # of a slice: as far as linear resampling reaches beyond the middle of the outermost


@dataclass(frozen=True)
class Place:
    """A series that may become half of a pair, its phase, and where it lies."""

    volume: FoundVolume
    phase: str
    shape: tuple[int, ...]
    affine: np.ndarray


def is_axial(volume: FoundVolume, affine: np.ndarray) -> bool:
    """Tell whether the slices run across the body; reformats along it are no slices as acquired.

    Slices of a DICOM series follow each other along its last axis; those of a NIfTI file along the one axis of another
    spacing than both others, and without such an axis it is taken for axial.
    """
    sizes, directions = voxel_sizes(affine), io_orientation(affine)[:, 0]
    if volume.kind == "dicom":
        return bool(directions[2] == 2)
    alike = [abs(sizes[one] / sizes[other] - 1) < ALIKE for one, other in ((1, 2), (0, 2), (0, 1))]
    return sum(alike) != 1 or bool(directions[alike.index(True)] == 2)


def shared_slices(grid: Grid, shape: Sequence[int], affine: np.ndarray) -> slice:
    """Find the slices of the CECT's grid, from first to last, that the NECT of this shape and affine covers."""
    middle, count = (np.array(grid.shape[:2]) - 1) / 2, grid.shape[2]
    aside = FIELD * np.array(grid.shape[:2])
    offsets = np.array([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]])
    points = np.zeros((len(offsets), count, 3))
    points[..., :2], points[..., 2] = (middle + offsets * aside)[:, None], np.arange(count)
    there = apply_affine(np.linalg.inv(affine) @ grid.affine, points)
    inside = (there >= -HALF) & (there <= np.array(shape) - 1 + HALF)
    along = int(np.flatnonzero(io_orientation(affine)[:, 0] == 2)[0])
    # all five points between the first and the last slice; in plane the middle is enough, since arms and air may differ
    shared = np.flatnonzero(inside[:, :, along].all(axis=0) & inside[0].all(axis=1))
    return slice(int(shared[0]), int(shared[-1]) + 1) if len(shared) else slice(0, 0)


def hours_apart(one: FoundVolume, other: FoundVolume) -> float | None:
    """Count the hours between two acquisitions; None where one does not say when it was."""
    try:  # a date may stand alone; a time without its date, filled up likewise, is none
        times = [datetime.strptime(f"{v.acquisition_time[:14]:0<14}", "%Y%m%d%H%M%S") for v in (one, other)]
    except ValueError:
        return None
    return abs((times[0] - times[1]).total_seconds()) / 3600


def shift_mm(one: Place, other: Place) -> list[float]:
    """Measure from the centre of one volume to that of another: mm to the right, to the front and upwards."""
    centres = [apply_affine(place.affine, (np.array(place.shape) - 1) / 2) for place in (one, other)]
    return [round(float(step), 2) for step in centres[1] - centres[0]]


def rank_pairs(
    sources: Sequence[Place], targets: Sequence[Place], wanted: str, min_overlap: float, min_slices: int
) -> list[tuple[Place, Place]]:
    """List all pairs that share enough slices, best first.

    The order: of one study; the phase (not for ``"any"``); nearest in time; most slices shared, in steps of a
    twentieth; most alike in slice spacing; most slices. Sources are the NECT of a patient, targets the CECT, of which
    the NECT has to cover ``min_overlap`` of its slices and ``min_slices`` of them.
    """
    phases = {} if wanted == "any" else {phase: rank for rank, phase in enumerate(enhanced_order(wanted))}
    ranked: list[tuple[tuple[float, ...], tuple[Place, Place]]] = []
    for source, target in product(sources, targets):
        grid = _upright(target)
        shared = shared_slices(grid, source.shape, source.affine)
        count = shared.stop - shared.start
        if count < min_slices or count < min_overlap * grid.shape[2]:
            continue
        hours = hours_apart(source.volume, target.volume)
        spacings = [voxel_sizes(one.affine)[2] for one in (_upright(source), grid)]
        order = (
            float(not same_study(source.volume, target.volume)),
            phases.get(target.phase, len(phases)),
            math.inf if hours is None else hours,
            -round(20 * count / grid.shape[2]),
            round(abs(math.log(spacings[0] / spacings[1])), 2),
            -count,
        )
        ranked.append((order, (source, target)))
    return [pair for _, pair in sorted(ranked, key=lambda entry: entry[0])]


def same_study(one: FoundVolume, other: FoundVolume) -> bool:
    """Tell whether two series say that they are of one study."""
    return bool(one.study_uid) and one.study_uid == other.study_uid


def _upright(place: Place) -> Grid:
    """Turn a volume's grid so that its slices run along the last axis."""
    x, y, z = (int(axis) for axis in np.argsort(io_orientation(place.affine)[:, 0]))
    return Grid((place.shape[x], place.shape[y], place.shape[z]), place.affine[:, [x, y, z, 3]])
