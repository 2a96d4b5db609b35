"""Draw lesions: cysts, metastases, hepatocellular carcinomas, haemangiomas, renal cell carcinomas, other masses.

Which of them takes contrast up follows its kind, see :mod:`monai_nce.virtual.tissue`; a lesion of its own has its own
share of it. Most are rounded, larger ones have a necrotic core that takes none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monai_nce.virtual.anatomy import is_any

__all__ = ["KINDS", "Lesion", "LesionKind", "sample_lesions"]


@dataclass(frozen=True)
class LesionKind:
    """Say where lesions of a kind lie, how large they are, and how often a patient has them."""

    organs: tuple[str, ...]  # structures that they lie in
    radius: tuple[float, float]  # mm
    share: float  # of the patients that have any
    most: int  # in one patient


KINDS = {  # tissue: where it is found; shares and sizes are choices, more lesions than patients have
    "liver_metastasis": LesionKind(("liver",), (4, 20), 0.2, 5),
    "hepatocellular_carcinoma": LesionKind(("liver",), (6, 22), 0.12, 2),
    "haemangioma": LesionKind(("liver",), (5, 18), 0.1, 2),
    "cyst": LesionKind(("liver", "kidney_right", "kidney_left", "pancreas", "spleen"), (4, 20), 0.35, 4),
    "renal_cell_carcinoma": LesionKind(("kidney_right", "kidney_left"), (7, 22), 0.15, 1),
    "mass": LesionKind(("visceral_fat", "pancreas", "bowel", "muscle", "lung"), (5, 30), 0.25, 3),
}
CORE_FROM = 11.0  # mm of radius from which a tumour may be necrotic inside
NECROTIC = ("liver_metastasis", "hepatocellular_carcinoma", "renal_cell_carcinoma", "mass")


@dataclass(frozen=True)
class Lesion:
    """Describe one lesion: an ellipsoid with a bumpy border, in voxels."""

    tissue: str
    center: NDArray[np.float64]
    radii: NDArray[np.float64]
    core: float  # share of the radius that is necrotic; 0 without

    def level(
        self, shape: tuple[int, ...], bumps: NDArray[np.float32]
    ) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
        """Return the block of voxels around it, and there 1 at its border, less within."""
        reach = np.ceil(self.radii * 1.5).astype(int) + 1
        low = np.clip(self.center.astype(int) - reach, 0, shape)
        high = np.clip(self.center.astype(int) + reach + 1, 0, shape)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        axes = [
            (np.arange(a, b, dtype=np.float32) - c) / r
            for a, b, c, r in zip(low, high, self.center, self.radii, strict=True)
        ]
        x, y, z = np.meshgrid(*(axis.astype(np.float32) for axis in axes), indexing="ij", sparse=True)
        return box, np.sqrt(x * x + y * y + z * z) * (1 + np.float32(0.12) * bumps[box])


def sample_lesions(structures: NDArray[np.uint8], spacing: float, rng: np.random.Generator) -> list[Lesion]:
    """Draw one patient's lesions in these structures, on a grid of ``spacing`` mm."""
    lesions = []
    for tissue, kind in KINDS.items():
        if rng.uniform() >= kind.share:
            continue
        places = np.flatnonzero(is_any(structures, kind.organs))
        for _ in range(int(rng.integers(1, kind.most + 1))):
            if not len(places):
                continue
            center = np.array(np.unravel_index(places[rng.integers(len(places))], structures.shape), float)
            radius = np.exp(rng.uniform(*np.log(kind.radius)))
            radii = radius / spacing * rng.uniform(0.75, 1.3, size=3)
            necrotic = tissue in NECROTIC and radius > CORE_FROM and rng.uniform() < 0.5
            lesions.append(Lesion(tissue, center, radii, float(rng.uniform(0.4, 0.8)) if necrotic else 0.0))
    return lesions
