"""Make the same virtual patients without and with lesions of each pattern and size, and keep them in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from benchmarks.made_patients import anatomies
from monai_nce.data import atomic_path
from monai_nce.errors import InputError
from monai_nce.virtual import PATTERNS, Anatomy, PlantedLesion, WantedLesion, make_virtual_twins

__all__ = ["SIZES", "Twins", "make_twins"]

SIZES = ((5.0, 10.0), (10.0, 20.0), (20.0, 40.0))  # mm
MOST = 8  # lesions of a patient
TRIES = 5  # numbers drawn for a patient, of whom many are scanned where no organ for lesions is

Volume = NDArray[np.int16]  # HU, (H, W, D)


@dataclass(frozen=True)
class Twins:
    """Hold a patient without lesions, the healthy, and with them, the ill: aligned plain scans and true CECTs.

    Args:
        patient: name with the anatomy.
        plain, cect: HU of the healthy and of the ill.
        tissues: of the healthy.
        lesions: number of the lesion in each voxel, from 1 on.
        planted: the lesions.
        spacing: in mm.
    """

    patient: str
    plain: tuple[Volume, Volume]
    cect: tuple[Volume, Volume]
    tissues: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    planted: list[PlantedLesion]
    spacing: tuple[float, float, float]


def make_twins(data: Path, patients: int, seed: int, folder: Path) -> Iterator[Twins]:
    """Make so many patients of each anatomy in the portal phase, or read those that are in the folder already.

    Raises:
        InputError: if the folder ``data`` has no label map.
    """
    count = 0
    for anatomy in anatomies(data):
        for number in range(patients):
            count += 1
            path = folder / f"{anatomy.name}_{seed}_{number:02d}.npz"
            if not path.is_file():
                _write(path, _make(anatomy, number, seed))
            yield _read(path)
    if not count:
        raise InputError(f"{data}: expected a folder laid out as NCE_REAL_DATA but there is no label map in labels")


def _make(anatomy: Anatomy, number: int, seed: int) -> Twins:
    """Make one patient: of those drawn, the first in whom most of the wanted lesions lie."""
    every = [WantedLesion(pattern, size) for size in SIZES[::-1] for pattern in PATTERNS]
    # each patient gets another part of a sequence in which all come equally often, the largest first
    order = np.random.default_rng(seed).permutation(len(every))
    chosen = sorted(int(order[(number * MOST + k) % len(every)]) for k in range(MOST))
    best = None
    for attempt in range(TRIES):
        index = number * TRIES + attempt
        made = make_virtual_twins(anatomy, index, [every[k] for k in chosen], seed=seed, phase="portal")
        if best is None or len(made.planted) > len(best.planted):
            best = made
        if len(best.planted) > MOST / 2:
            break
    assert best is not None
    both = (best.healthy, best.ill)
    side = [float(step) for step in voxel_sizes(best.healthy.affine)]
    return Twins(
        f"{anatomy.name} {number}",
        (both[0].nect_aligned, both[1].nect_aligned),
        (both[0].cect, both[1].cect),
        best.healthy.labels,
        best.lesions,
        best.planted,
        (side[0], side[1], side[2]),
    )


def _write(path: Path, twins: Twins) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    planted = np.array([list(asdict(one).values()) for one in twins.planted], str).reshape(-1, 3)
    with atomic_path(path) as part, open(part, "wb") as file:
        np.savez_compressed(
            file,
            plain=np.stack(twins.plain),
            cect=np.stack(twins.cect),
            patient=twins.patient,
            tissues=twins.tissues,
            lesions=twins.lesions,
            planted=planted,
            spacing=twins.spacing,
        )


def _read(path: Path) -> Twins:
    with np.load(path) as file:
        plain, cect = (tuple(file[name]) for name in ("plain", "cect"))
        planted = [PlantedLesion(str(a), str(b), float(c)) for a, b, c in file["planted"]]
        x, y, z = (float(step) for step in file["spacing"])
        return Twins(str(file["patient"]), plain, cect, file["tissues"], file["lesions"], planted, (x, y, z))
