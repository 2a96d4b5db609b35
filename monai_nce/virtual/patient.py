"""Make virtual patients from a completed label map: paired CT without and with contrast whose aligned truth is known.

Real organs' shapes, HU from the literature (:mod:`monai_nce.virtual.tissue`), a scanner's noise: close to a scan, and
still no patient, so a score on virtual patients is never a clinical result. A patient's organs are those of the map in
another shape; the scan without contrast is another breath-hold, with another position on the table, other bowel
contents and fresh noise. Units are HU and mm; arrays are RAS+ as in nibabel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from monai_nce.phantom.patient import FIELD_OF_VIEW, centered_affine, check_numbers
from monai_nce.virtual.acquisition import sample_scanner
from monai_nce.virtual.anatomy import Anatomy
from monai_nce.virtual.motion import ORGANS_SHARE, Motion
from monai_nce.virtual.physiology import sample_physiology
from monai_nce.virtual.planted import PlantedLesion, WantedLesion, plant_lesions
from monai_nce.virtual.shape import Shape
from monai_nce.virtual.tissue_map import CODES, draw_tissues, redraw_bowel

__all__ = ["LABELS", "VirtualPatient", "VirtualTwins", "make_virtual_patient", "make_virtual_twins"]

LABELS: dict[str, int] = CODES
SLICE_SPACING = (3.0, 5.0)  # mm
OFF_CENTER = (18.0, 18.0)  # mm that a patient lies off the field of view's centre, at most
ABDOMINAL_SHARE = 0.6  # of the patients are scanned about liver or kidneys, the others anywhere in the map
BLUR = 0.35  # of a pixel, before the anatomy's finer grid is sampled
COUCH_UNDER = 12.0  # mm outside of the trunk: where a body meets the table, its fat pressed flat

Volume = NDArray[np.float32]
Points = tuple[Volume, Volume, Volume]


@dataclass(frozen=True)
class VirtualPatient:
    """Hold one virtual patient.

    Args:
        patient: name, as ``virtual_0003``.
        cect: ``(size, size, slices)`` int16 HU with contrast.
        nect: int16 HU without contrast as acquired: moved, other bowel contents, fresh noise.
        nect_aligned: int16 HU without contrast, every voxel where it is in ``cect``; noise of its own.
        labels: uint8 values of ``LABELS`` on the grid of ``cect``.
        affine: ``(4, 4)`` float64, voxel to RAS+ mm.
        note: what was drawn: phase, contrast level, anatomy, spacing, noise.
    """

    patient: str
    cect: NDArray[np.int16]
    nect: NDArray[np.int16]
    nect_aligned: NDArray[np.int16]
    labels: NDArray[np.uint8]
    affine: NDArray[np.float64]
    note: dict[str, Any]


@dataclass(frozen=True)
class VirtualTwins:
    """Hold the same virtual patient twice, without and with lesions: all else is the same, to the noise of each voxel.

    Args:
        healthy: without lesions, but for those of the label map.
        ill: with them.
        lesions: uint8 on the grid of ``ill.cect``, the number of the planted lesion from 1 on; 0 elsewhere.
        planted: the lesions, in the order of their numbers.
    """

    healthy: VirtualPatient
    ill: VirtualPatient
    lesions: NDArray[np.uint8]
    planted: list[PlantedLesion]


def make_virtual_patient(
    anatomy: Anatomy, index: int, seed: int = 0, size: int = 128, slices: int = 32, phase: str | None = None
) -> VirtualPatient:
    """Make one patient, the same however many others are made.

    Args:
        anatomy: the organs, from :func:`monai_nce.virtual.complete`.
        index: number of the patient, 0 or more.
        seed: of the whole data set.
        size: pixels along both in-plane axes of the 341.3 mm field of view, 32 or more.
        slices: slices along the body, 3 to 5 mm apart, or less where the map is not as high.
        phase: ``arterial``, ``portal`` or ``delayed``; drawn if None.

    Raises:
        ValueError: an index below 0, a size below 32, no slices, or an unknown phase.
    """
    return _make(anatomy, index, seed, size, slices, phase)[0][0]


def make_virtual_twins(
    anatomy: Anatomy,
    index: int,
    wanted: Sequence[WantedLesion],
    seed: int = 0,
    size: int = 128,
    slices: int = 32,
    phase: str | None = None,
) -> VirtualTwins:
    """Make one patient twice, without and with lesions; the lesions that any patient may have are left out of both.

    Lesions that do not fit into the scanned part of their organs are left out. Where nothing was planted, scans differ
    in no voxel.

    Args:
        anatomy, index, seed, size, slices, phase: as of :func:`make_virtual_patient`.
        wanted: lesions to plant.

    Raises:
        ValueError: an index below 0, a size below 32, no slices, or an unknown phase.
    """
    (healthy, ill), lesions, planted = _make(anatomy, index, seed, size, slices, phase, wanted)
    return VirtualTwins(healthy, ill, lesions, planted)


def _make(
    anatomy: Anatomy,
    index: int,
    seed: int,
    size: int,
    slices: int,
    phase: str | None,
    wanted: Sequence[WantedLesion] | None = None,
) -> tuple[list[VirtualPatient], NDArray[np.uint8], list[PlantedLesion]]:
    """Make a patient, with lesions of its own; or, with ``wanted`` ones, without, and again with what was planted."""
    check_numbers(index, size, slices)
    # Separate streams: the patient must not depend on how many numbers the grid's noise takes.
    streams = np.random.SeedSequence([seed, index]).spawn(7)
    body, values_rng, tissues_rng, motion_rng, scanner_rng, noise_rng, lesions_rng = map(np.random.default_rng, streams)
    values = sample_physiology(values_rng, phase)
    scanner = sample_scanner(scanner_rng)
    shape, motion = Shape(body), Motion(motion_rng)
    pixel = FIELD_OF_VIEW / size
    distance = min(float(body.uniform(*SLICE_SPACING)), anatomy.height * 0.95 / slices)
    spacing = (pixel, pixel, distance)
    middle = [*(float(body.uniform(-m, m)) for m in OFF_CENTER), _middle_height(anatomy, distance * slices, body)]
    axes = [
        (np.arange(n) - (n - 1) / 2) * step + offset
        for n, step, offset in zip((size, size, slices), spacing, middle, strict=True)
    ]
    weights, offsets = scanner.slice_profile()
    axes[2] = (axes[2][:, None] + offsets).ravel()
    grid = _points(np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True))

    still = _in_anatomy(shape(*grid), anatomy)

    def inside(x: Volume, y: Volume, z: Volume) -> Volume:
        cavity: Volume = _look_up(anatomy.cavity, anatomy, _in_anatomy(shape(x, y, z), anatomy))
        return cavity / np.float32(255)

    def mobility(x: Volume, y: Volume, z: Volume) -> Volume:
        organs = _look_up(anatomy.structures, anatomy, _in_anatomy(shape(x, y, z), anatomy), order=0)
        share: Volume = ORGANS_SHARE[organs]
        return share

    moved = _in_anatomy(shape(*motion(*grid, inside=inside, mobility=mobility)), anatomy)
    heights = [float(end) for points in (still, moved) for end in (points[2].min(), points[2].max())]
    slab = anatomy.slab(min(heights) - 5, max(heights) + 5)
    bodies = [draw_tissues(slab, tissues_rng, lesions=wanted is None)]
    numbers = np.zeros(slab.structures.shape, np.uint8)
    planted: list[PlantedLesion] = []
    if wanted is not None:
        scanned = (float(np.median(still[2][:, :, 0])), float(np.median(still[2][:, :, -1])))
        changed, numbers, planted = plant_lesions(slab, bodies[0], values, wanted, scanned, lesions_rng)
        bodies.append(changed)
    blur = BLUR * pixel / anatomy.spacing
    aligned: list[Volume] = []
    enhanced: list[Volume] = []
    for tissues in bodies:
        hu, rise = (ndimage.gaussian_filter(volume, blur, mode="nearest") for volume in tissues.hu(values))
        for scans, volume in ((aligned, hu), (enhanced, hu + rise)):
            scans.append(_averaged(_look_up(volume, slab, still), weights))
    couch = _couch(grid, _look_up(slab.trunk_distance, slab, still), body)
    drawn = bodies[0]
    codes, lumen = redraw_bowel(drawn.codes, drawn.lumen, drawn.front, slab.spacing, motion_rng), drawn.lumen
    acquired = []
    for tissues in bodies:
        tissues.codes[lumen] = codes[lumen]
        hu = ndimage.gaussian_filter(tissues.hu(values)[0], blur, mode="nearest")
        acquired.append(_averaged(_look_up(hu, slab, moved), weights))
    middles = _points(np.ascontiguousarray(v[:, :, len(weights) // 2 :: len(weights)]) for v in still)
    before = scanner.repeat(noise_rng)  # the scan without contrast, of a slightly other dose
    cect, nect, nect_aligned = (
        settings.acquire_twins([np.maximum(scan, couch) for scan in scans], spacing, noise_rng)
        for settings, scans in ((scanner, enhanced), (before, acquired), (before, aligned))
    )
    note = {
        "anatomy": anatomy.name,
        "phase": values.phase,
        "level": round(values.level, 4),
        "slice_spacing": round(distance, 3),
        **scanner.note(),
    }
    patients = [
        VirtualPatient(
            f"virtual_{index:04d}",
            with_contrast,
            acquired_plain,
            aligned_plain,
            labels=_look_up(tissues.codes, slab, middles, order=0),
            affine=centered_affine((size, size, slices), spacing),
            note=note,
        )
        for tissues, with_contrast, acquired_plain, aligned_plain in zip(bodies, cect, nect, nect_aligned, strict=True)
    ]
    return patients, _look_up(numbers, slab, middles, order=0), planted


def _middle_height(anatomy: Anatomy, reach: float, rng: np.random.Generator) -> float:
    """Draw the middle of the scanned part in mm about the map's middle: mostly of the abdomen, else of all."""
    room = max(anatomy.height * 0.95 - reach, 0) / 2
    low, high = (-room, room)
    if rng.uniform() < ABDOMINAL_SHARE:
        low, high = (min(max(end - anatomy.center[2], -room), room) for end in anatomy.abdomen)
    return float(rng.uniform(low, high))


def _points(coordinates: Iterable[Volume]) -> Points:
    x, y, z = coordinates
    return x, y, z


def _in_anatomy(points: Points, anatomy: Anatomy) -> Points:
    """Turn points about the patient's centre into points of the label map."""
    x, y, z = (value + np.float32(c) for value, c in zip(points, anatomy.center, strict=True))
    return x, y, z


def _look_up(volume: NDArray[Any], anatomy: Anatomy, points: Points, order: int = 1) -> NDArray[Any]:
    """Sample a volume of the anatomy's grid at points in mm; beyond its ends it goes on as it ends."""
    places = [
        (value - np.float32(o)) / np.float32(anatomy.spacing) for value, o in zip(points, anatomy.origin, strict=True)
    ]
    output = volume.dtype if order == 0 else np.float32
    return ndimage.map_coordinates(volume, np.broadcast_arrays(*places), order=order, mode="nearest", output=output)


def _averaged(fine: Volume, weights: NDArray[np.float32]) -> Volume:
    """Average the thin slices that make up each slice."""
    return fine.reshape(*fine.shape[:2], -1, len(weights)) @ weights


def _couch(grid: Points, distance: Volume, rng: np.random.Generator) -> Volume:
    """Draw the scanner's table under the body as HU; it is the same for all slices."""
    x, y, _ = grid
    lowest = np.where(distance <= COUCH_UNDER, y, np.inf).min()
    if not np.isfinite(lowest):
        return np.full(1, -1000, np.float32)
    bend = np.float32(rng.uniform(0, 1 / 800)) * (x - np.float32(rng.uniform(-20, 20))) ** 2
    depth = np.float32(lowest - rng.uniform(2, 14)) + bend - y  # mm below the table's surface
    thick = rng.uniform(15, 45)
    wide = np.abs(x) < rng.uniform(190, 260)
    shell = (np.abs(depth) < 1.5) | (np.abs(depth - thick) < 1.5)
    filling = (depth > 0) & (depth < thick)
    shares = ndimage.uniform_filter(np.where(wide & shell, 1.0, 0.0).astype(np.float32), (1, 3, 1))
    return np.where(wide & filling, np.float32(rng.uniform(-980, -880)), np.float32(-1000)) + 700 * shares
