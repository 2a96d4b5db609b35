"""A synthetic abdomen: paired non-contrast and contrast-enhanced CT whose aligned truth is known.

The phantom exists to train and test the method where no patient data may be had. Its anatomy is geometric and its HU
are rounded literature values (``monai_nce.data.phantom_tissue`` names the sources), so a score on it is never a
clinical result.

A patient is a function of continuous coordinates in mm and is the same at any grid size. Between the acquired
non-contrast scan and the contrast-enhanced one lie a breath-hold at another depth (Rohlfing et al., Med. Phys. 2004;
Davies et al., Br. J. Radiol. 1994: liver and kidneys move mostly along the body's axis, by about a centimetre, and
some millimetres to anterior), a smooth deformation, and the bowel's own motion.

Units: HU and mm. Arrays are RAS+ as in nibabel: index grows to the patient's right, to anterior and to superior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from monai_nce.data.phantom_anatomy import Anatomy
from monai_nce.data.phantom_shapes import Array, Canvas, Waves
from monai_nce.data.phantom_tissue import LABELS

__all__ = ["LABELS", "PhantomPatient", "make_phantom_patient"]

FIELD_OF_VIEW = 1024 / 3  # mm in plane: 256 pixels of 1 / 0.75 mm
SLICE_SPACING = 5.0  # mm
RANGE = 160.0  # mm from the liver's dome to the kidneys' lower poles; more slices than fit become thinner
NOISE_RANGE = (6.0, 9.0)  # HU, standard deviation in one scan
TEXTURE_SPACING, TEXTURE_SIZE = 3.0, (96, 96, 64)  # mm and lattice points; the lattice repeats
TEXTURE_LENGTH = 6.0  # mm, standard deviation of the texture's smoothing


@dataclass(frozen=True)
class PhantomPatient:
    """One patient of the phantom.

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
        slices: slices along the body, 1 or more: 5 mm apart up to 32 of them, about the height of the pancreas, and
            thinner beyond so that all of them stay within 160 mm.
        seed: seed of the whole data set.

    Returns:
        The patient, with arrays of ``(size, size, slices)``.

    Raises:
        ValueError: an index below 0, a size below 32 or no slices.
    """
    for name, value, least in (("index", index, 0), ("size", size, 32), ("slices", slices, 1)):
        if value < least:
            raise ValueError(f"expected {name} of at least {least} but got {value}")
    # Separate streams: the anatomy must not depend on how many numbers the grid's noise takes.
    streams = np.random.SeedSequence([seed, index]).spawn(4)
    anatomy_rng, texture_rng, motion_rng, noise_rng = (np.random.default_rng(stream) for stream in streams)
    pixel = FIELD_OF_VIEW / size
    affine = _affine(size, slices)
    x, y, z = _coordinates(affine, (size, size, slices))
    anatomy = Anatomy(anatomy_rng)
    texture = _texture_lattice(texture_rng)

    aligned = Canvas(x.shape, anatomy.values, _sample_lattice(texture, x, y, z), pixel)
    anatomy.paint(aligned, x, y, z)

    dx, dy, dz = _sample_motion(motion_rng)(x, y, z)
    x, y, z = x + dx, y + dy, z + dz
    acquired = Canvas(x.shape, anatomy.values, _sample_lattice(texture, x, y, z), pixel)
    anatomy.with_bowel_moved(motion_rng).paint(acquired, x, y, z)

    sigma = float(noise_rng.uniform(*NOISE_RANGE))
    return PhantomPatient(
        patient=f"phantom_{index:03d}",
        cect=_scan(aligned.hu + aligned.enhancement, sigma, pixel, noise_rng),
        nect=_scan(acquired.hu, sigma, pixel, noise_rng),
        nect_aligned=_scan(aligned.hu, sigma, pixel, noise_rng),
        labels=aligned.labels,
        affine=affine,
    )


def _affine(size: int, slices: int) -> Array:
    spacing = np.array([FIELD_OF_VIEW / size, FIELD_OF_VIEW / size, min(SLICE_SPACING, RANGE / slices)])
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -spacing * (np.array([size, size, slices]) - 1) / 2
    return affine


def _coordinates(affine: Array, shape: tuple[int, int, int]) -> tuple[Array, Array, Array]:
    """Coordinates in mm of every voxel's centre, three arrays of ``shape``."""
    axes = [(affine[i, i] * np.arange(shape[i]) + affine[i, 3]).astype(np.float32) for i in range(3)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x, y, z


class _Motion:
    """Displacement from a point of the acquired scan to where its tissue lies in the contrast-enhanced one.

    Args:
        rng: source of depth of breath, direction and deformation.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        depth = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.5)
        self.down = 10 * depth  # organs sink when breathing in, and the wall moves to anterior
        self.forward = 3.3 * depth * rng.uniform(0.7, 1.3)
        self.shift = rng.normal(size=3) * [0.8, 0.5, 1.0]
        self.deformation = Waves(rng, (1.5, 1.5, 2.0), (60, 130), 8)

    def __call__(self, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        spine = 1 - np.exp(-((x / 42) ** 4) - ((y + 60) / 48) ** 4)  # 0 at the vertebra
        wall = 1 / (1 + np.exp((np.sqrt((x / 120) ** 2 + (y / 88) ** 2) - 1) * 14))
        lower = 1 / (1 + np.exp(-(z + 60) / 30))
        front = np.clip((y + 70) / 130, 0, 1)
        organs = spine * (0.15 + 0.85 * wall) * (0.4 + 0.6 * lower)
        dx, dy, dz = self.deformation(x, y, z)
        calm = 0.2 + 0.8 * spine
        return (
            calm * dx + np.float32(self.shift[0]),
            calm * dy + np.float32(self.shift[1]) - np.float32(self.forward) * front,
            calm * dz + np.float32(self.shift[2]) + np.float32(self.down) * organs,
        )


def _sample_motion(rng: np.random.Generator) -> _Motion:
    return _Motion(rng)


def _texture_lattice(rng: np.random.Generator) -> Array:
    """Smooth noise of unit variance on a lattice that repeats."""
    noise = rng.standard_normal(TEXTURE_SIZE, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, TEXTURE_LENGTH / TEXTURE_SPACING, mode="wrap")
    return noise / noise.std()


def _sample_lattice(lattice: Array, x: Array, y: Array, z: Array) -> Array:
    points = np.stack([x, y, z]) / np.float32(TEXTURE_SPACING)
    return ndimage.map_coordinates(lattice, points, order=1, mode="grid-wrap")


def _scan(hu: Array, sigma: float, pixel: float, rng: np.random.Generator) -> Array:
    """HU with the noise of one acquisition, as int16.

    The noise is band-limited in plane, as a filtered back-projection leaves it, and independent between slices.
    """
    white = rng.standard_normal(hu.shape, dtype=np.float32)
    fine, coarse = (ndimage.gaussian_filter(white, (w / pixel, w / pixel, 0)) for w in (1.2, 6.0))
    noise = fine - coarse
    return np.clip(np.rint(hu + noise * (sigma / noise.std())), -1024, 3071).astype(np.int16)
