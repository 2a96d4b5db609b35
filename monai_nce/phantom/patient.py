"""Make synthetic abdomens: paired non-contrast and contrast-enhanced CT whose aligned truth is known.

Anatomy is geometric and HU are rounded literature values (``monai_nce.phantom.tissue`` names the sources), so a score
on the phantom is never a clinical result. A patient is a function of continuous coordinates in mm and is the same at
any grid size. Between the acquired non-contrast scan and the contrast-enhanced one lie a breath-hold at another depth,
a smooth deformation, and the bowel's own motion. Arrays are RAS+ as in nibabel: index grows to the patient's right, to
anterior and to superior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_nce.phantom.anatomy import Anatomy
from monai_nce.phantom.motion import Motion
from monai_nce.phantom.shapes import Array
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
    for name, value, least in (("index", index, 0), ("size", size, 32), ("slices", slices, 1)):
        if value < least:
            raise ValueError(f"expected {name} of at least {least} but got {value}")
    # Separate streams: the patient must not depend on how many numbers the grid's noise takes.
    streams = np.random.SeedSequence([seed, index]).spawn(3)
    anatomy_rng, motion_rng, noise_rng = (np.random.default_rng(stream) for stream in streams)
    pixel = FIELD_OF_VIEW / size
    affine = _affine(size, slices)
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


def _affine(size: int, slices: int) -> Array:
    spacing = np.array([FIELD_OF_VIEW / size, FIELD_OF_VIEW / size, min(SLICE_SPACING, RANGE / slices)])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array([size, size, slices]) - 1) / 2
    return affine


def _scan(hu: Array, sigma: float, pixel: float, rng: np.random.Generator) -> Array:
    """Add the noise of one acquisition to HU, as int16.

    The noise is band-limited in plane, as a filtered back-projection leaves it, and independent between slices.
    """
    white = rng.standard_normal(hu.shape, dtype=np.float32)
    fine, coarse = (ndimage.gaussian_filter(white, (w / pixel, w / pixel, 0)) for w in (1.2, 6.0))
    noise = fine - coarse
    return np.clip(np.rint(hu + noise * (sigma / noise.std())), -1024, 3071).astype(np.int16)
