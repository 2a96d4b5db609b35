"""Make synthetic abdomens: paired non-contrast and contrast-enhanced CT whose aligned truth is known.

Anatomy is geometric and HU are rounded literature values (``monai_nce.phantom.tissue`` names the sources), so a score
on the phantom is never a clinical result. A patient is a function of coordinates in mm, the same at any grid size.
Between the acquired non-contrast scan and the contrast-enhanced one lie another breath-hold, a smooth deformation and
the bowel's own motion. Units are HU and mm; arrays are RAS+ as in nibabel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from monai_nce.phantom.anatomy import Anatomy
from monai_nce.phantom.shapes import Array, Point, Waves
from monai_nce.phantom.tissue import LABELS

__all__ = ["LABELS", "PhantomPatient", "make_phantom_patient"]

FIELD_OF_VIEW = 1024 / 3  # mm in plane: 256 pixels of 1 / 0.75 mm
SLICE_SPACING = 5.0  # mm
RANGE = 160.0  # mm from the liver's dome to the kidneys' lower poles; more slices than fit become thinner
NOISE_RANGE = (6.0, 9.0)  # HU, standard deviation in one scan


@dataclass(frozen=True)
class PhantomPatient:
    """Hold one patient of the phantom.

    Args:
        patient: name, as ``phantom_003``.
        cect: ``(size, size, slices)`` int16 HU with contrast.
        nect: int16 HU without contrast as acquired: another breath-hold, bowel moved, fresh noise.
        nect_aligned: int16 HU without contrast, every voxel where it is in ``cect``; noise of its own.
        labels: uint8 values of ``LABELS`` on the grid of ``cect``.
        affine: ``(4, 4)`` float64, voxel to RAS+ mm.
    """

    patient: str
    cect: np.ndarray
    nect: np.ndarray
    nect_aligned: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


class Motion:
    """Displace points of the acquired scan to where their tissue lies in the contrast-enhanced one.

    Davies et al., Br. J. Radiol. 1994, and Rohlfing et al., Med. Phys. 2004: with breath, liver and kidneys move mostly
    along the body's axis, by about a centimetre, and some millimetres to anterior. Shares by region are choices.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        depth = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.5)
        self.down = 10 * depth  # organs sink when breathing in, and the wall moves to anterior
        self.forward = 3.3 * depth * rng.uniform(0.7, 1.3)
        self.shift = rng.normal(size=3) * [0.8, 0.5, 1.0]
        self.deformation = Waves(rng, (1.5, 1.5, 2.0), (60, 130), 8)

    def __call__(self, x: Array, y: Array, z: Array) -> Point:
        """Return the displacement in mm along x, y and z at points in mm."""
        spine = 1 - np.exp(-np.square(np.square(x / 42)) - np.square(np.square((y + 60) / 48)))  # 0 at the vertebra
        wall = 1 / (1 + np.exp((np.sqrt((x / 120) ** 2 + (y / 88) ** 2) - 1) * 14))
        lower = 1 / (1 + np.exp(-(z + 60) / 30))
        front = np.clip((y + 70) / 130, 0, 1)
        organs = spine * (0.15 + 0.85 * wall) * (0.4 + 0.6 * lower)
        dx, dy, dz = self.deformation(x, y, z)
        # The spine lies on the table; it keeps a fifth of the deformation.
        calm = 0.2 + 0.8 * spine
        return (
            calm * dx + np.float32(self.shift[0]),
            calm * dy + np.float32(self.shift[1]) - np.float32(self.forward) * front,
            calm * dz + np.float32(self.shift[2]) + np.float32(self.down) * organs,
        )


def make_phantom_patient(index: int, size: int = 128, slices: int = 32, seed: int = 0) -> PhantomPatient:
    """Make one patient, the same however many others are made.

    Args:
        index: number of the patient, 0 or more.
        size: pixels along both in-plane axes of the 341.3 mm field of view, 32 or more.
        slices: slices along the body, 1 or more: 5 mm apart up to 32 of them, thinner beyond, to stay within 160 mm.
        seed: seed of the whole data set.

    Raises:
        ValueError: an index below 0, a size below 32 or no slices.
    """
    check_numbers(index, size, slices)
    # Separate streams: the patient must not depend on how many numbers the grid's noise takes.
    streams = np.random.SeedSequence([seed, index]).spawn(3)
    anatomy_rng, motion_rng, noise_rng = (np.random.default_rng(stream) for stream in streams)
    pixel = FIELD_OF_VIEW / size
    spacing = np.array([pixel, pixel, min(SLICE_SPACING, RANGE / slices)])
    affine = centered_affine((size, size, slices), spacing)
    in_plane, along = (affine[i, i] * np.arange(n) + affine[i, 3] for i, n in ((0, size), (2, slices)))
    x, y, z = np.meshgrid(*(axis.astype(np.float32) for axis in (in_plane, in_plane, along)), indexing="ij")
    anatomy = Anatomy(anatomy_rng)
    hu, enhancement, labels = anatomy.render(x, y, z, pixel)
    dx, dy, dz = Motion(motion_rng)(x, y, z)
    moved, _, _ = anatomy.with_bowel_moved(motion_rng).render(x + dx, y + dy, z + dz, pixel)
    sigma = float(noise_rng.uniform(*NOISE_RANGE))
    return PhantomPatient(
        patient=f"phantom_{index:03d}",
        cect=_scan(hu + enhancement, sigma, pixel, noise_rng),
        nect=_scan(moved, sigma, pixel, noise_rng),
        nect_aligned=_scan(hu, sigma, pixel, noise_rng),
        labels=labels,
        affine=affine,
    )


def check_numbers(index: int, size: int, slices: int) -> None:
    """Refuse numbers of which no patient is made; raise a ValueError that names the first one."""
    for name, value, least in (("index", index, 0), ("size", size, 32), ("slices", slices, 1)):
        if value < least:
            raise ValueError(f"expected {name} of at least {least} but got {value}")


def centered_affine(shape: Sequence[int], spacing: ArrayLike) -> np.ndarray:
    """Return the affine of a grid about the origin, from voxels to RAS+ mm, for a spacing in mm."""
    steps = np.asarray(spacing)
    affine = np.diag([*steps, 1.0])
    affine[:3, 3] = -steps * (np.array(shape) - 1) / 2
    return affine


def _scan(hu: Array, sigma: float, pixel: float, rng: np.random.Generator) -> Array:
    """Add one acquisition's noise: band-limited in plane as filtered back-projection leaves it, new in each slice."""
    white = rng.standard_normal(hu.shape, dtype=np.float32)
    fine, coarse = (ndimage.gaussian_filter(white, (w / pixel, w / pixel, 0)) for w in (1.2, 6.0))
    noise = fine - coarse
    return np.clip(np.rint(hu + noise * (sigma / noise.std())), -1024, 3071).astype(np.int16)
