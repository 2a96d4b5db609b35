"""Measure how often inference doubts a scan that its weights were made for, and how often it does not doubt another.

    python -m benchmarks.suitability [--data DIR] [--virtual N] [--draws N] [--seed S] [--out FILE]

``--data`` is a folder laid out as ``NCE_REAL_DATA``, which is its default: real scans, and label maps of which so many
virtual patients each are made. Beside them are phantoms, and heads, arms and legs of a few ellipses. Judged are whole
scans, slabs of 5 to 60 % of their slices and crops in plane to 40 to 90 % of both sides. Chests are the slices of real
scans in which :data:`CHESTS` says that there is no abdomen, and virtual patients and slabs of them in which few slices
hold more of the abdomen's organs than of the lungs. MR is scaled to -1000 to 1000, and may be refused as no HU before.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from tqdm import tqdm

from benchmarks.made_patients import phantoms, virtual_patients
from benchmarks.markdown import markdown_table
from monai_nce.data import read_ct, write_json
from monai_nce.data.nifti.reader import read_nifti
from monai_nce.data.scans.hounsfield import why_not_hounsfield
from monai_nce.data.scans.suitability import doubts
from monai_nce.virtual import LABELS

__all__ = ["arm", "head", "legs", "main", "measure"]

FIT, CONTRAST, CHEST, HEAD, LIMB, OTHER = "fit", "contrast medium", "chest alone", "head", "arm or leg", "MR"
WORDS = {CONTRAST: "contrast medium", CHEST: "chest", HEAD: "head", LIMB: "arm or a leg"}
NECT = ("nect_abdomen/ct.nii.gz", "real_scans/nect_*.nii.gz", "motion_controls_2d/A027284/*.dcm")
CECT = ("cect_abdomen_dicom/series", "real_scans/cect_*.nii.gz")
# from so many mm above the lowest slice on; looked up in the scans
CHESTS = {"real_scans/cect_cptac_pda.nii.gz": 110.0}
CHEST_SLICES = ("pair_2d_dicom/*.dcm", "motion_controls_2d/A046441/*.dcm")
MR = ("t2_pd_template/*.nii", "mr_contrast/**/*.nii*")
ABDOMINAL = ("liver", "spleen", "kidney_cortex", "gastric_wall", "bowel_wall", "bowel_content", "bowel_gas")
SOME_ABDOMEN = 0.2  # of a virtual patient's slices; fewer are a chest alone
PHANTOMS, FIGURES = 4, 12
GRID = (128, 128, 24)
SPACING = (3.0, 3.0, 4.0)


class Scan(NamedTuple):
    """One scan, what it shows, and where it comes from; of a virtual one the slices that show an abdomen are known."""

    group: str
    shows: str
    hu: np.ndarray
    affine: np.ndarray
    abdomen: np.ndarray | None = None


def _plane(shift: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return coordinates in mm."""
    axes = [(np.arange(n) - n / 2) * mm - by for n, mm, by in zip(GRID, SPACING, shift, strict=False)]
    x, y = np.meshgrid(*axes, indexing="ij")
    return x, y


def _volume(planes: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    noisy = np.stack(planes, axis=-1) + rng.normal(0, rng.uniform(5, 25), (*GRID[:2], len(planes)))
    return noisy.round().astype(np.int16), np.diag([*SPACING, 1.0])


def head(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make a skull with a brain and ventricles in it, from its base to its top."""
    x, y = _plane((rng.uniform(-20, 20), rng.uniform(-20, 20)))
    wide, long, bone = rng.uniform(65, 80), rng.uniform(80, 100), rng.uniform(5, 9)
    planes = []
    for index in range(GRID[2]):
        scale = np.sqrt(1 - (index / GRID[2] * 0.9) ** 2)
        radius = np.hypot(x / (wide * scale), y / (long * scale)) * wide * scale
        layers = [(wide * scale, -80.0), (wide * scale - 5, rng.uniform(900, 1300)), (wide * scale - 5 - bone, 33.0)]
        plane = np.full(GRID[:2], -1000.0)
        for limit, hu in (*layers, (8.0, 5.0)):
            plane[radius < limit] = hu
        planes.append(plane)
    return _volume(planes, rng)


def _limbs(radii: list[float], bone: float, gap: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    planes = []
    for index in range(GRID[2]):
        plane = np.full(GRID[:2], -1000.0)
        for side, radius in enumerate(radii):
            x, y = _plane((0.0 if len(radii) == 1 else (side - 0.5) * (2 * radius + gap), 0.0))
            away = np.hypot(x, y * 1.1)
            size = radius * (1 - 0.01 * index)
            for limit, hu in ((size, -100.0), (size * rng.uniform(0.8, 0.85), 55.0)):
                plane[away < limit] = hu
            centre = np.hypot(x - 0.08 * radius, y + 0.05 * radius)
            for limit, hu in ((bone, 1200.0), (bone * 0.5, -40.0)):
                plane[centre < limit] = hu
        planes.append(plane)
    return _volume(planes, rng)


def arm(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make an arm, or a leg below the knee."""
    return _limbs([rng.uniform(35, 62)], rng.uniform(9, 14), 0, rng)


def legs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Make one thigh, or two."""
    return _limbs([rng.uniform(65, 85)] * int(rng.integers(1, 3)), rng.uniform(13, 17), rng.uniform(6, 25), rng)


def _paths(data: Path | None, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(data.glob(pattern) if data else ())


def _upper(hu: np.ndarray, affine: np.ndarray, mm: float) -> np.ndarray:
    image = nib.as_closest_canonical(nib.Nifti1Image(hu, affine))
    return np.asarray(image.dataobj)[..., round(mm / image.header.get_zooms()[2]) :]


def _scans(data: Path | None, virtual: int, seed: int) -> Iterator[Scan]:
    for patterns, shows in ((NECT, FIT), (CECT, CONTRAST), (CHEST_SLICES, CHEST)):
        for path in _paths(data, patterns):
            hu, affine = read_ct(path)
            yield Scan("real", shows, hu, affine)
            above = CHESTS.get(path.relative_to(data).as_posix()) if data else None
            if above:
                canonical = nib.as_closest_canonical(nib.Nifti1Image(hu, affine))
                yield Scan("real", CHEST, _upper(hu, affine, above), canonical.affine)
    for path in _paths(data, MR):
        values, affine = read_nifti(path)
        low, high = np.percentile(values, (0, 99.9))
        yield Scan("real", OTHER, np.clip((values - low) / (high - low), 0, 1) * 2000 - 1000, affine)
    for patient in virtual_patients(data, virtual, seed):
        organs, lung = (_area(patient.labels, names) for names in (ABDOMINAL, ("lung",)))
        yield Scan("virtual", FIT, patient.nect, patient.affine, organs >= lung)
        yield Scan("virtual", CONTRAST, patient.cect, patient.affine, organs >= lung)
    for made in phantoms(PHANTOMS, seed):
        yield Scan("phantom", FIT, made.nect, made.affine)
        yield Scan("phantom", CONTRAST, made.cect, made.affine)
    rng = np.random.default_rng(seed)
    for make, shows in ((head, HEAD), (arm, LIMB), (legs, LIMB)):
        for _ in range(FIGURES):
            yield Scan("ellipses", shows, *make(rng))


def _area(labels: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Count the voxels of tissues in each slice."""
    return np.asarray(np.isin(labels, [LABELS[name] for name in names]).sum(axis=(0, 1)))


def _part(length: int, low: float, high: float, rng: np.random.Generator) -> slice:
    side = max(round(length * rng.uniform(low, high)), 1)
    start = int(rng.integers(0, length - side + 1))
    return slice(start, start + side)


def _parts(shape: tuple[int, ...], draws: int, rng: np.random.Generator) -> Iterator[tuple[str, tuple[slice, ...]]]:
    everything = slice(None)
    yield "whole", (everything,) * 3
    for _ in range(draws):
        yield "slab", (everything, everything, _part(shape[2], 0.05, 0.6, rng))
        yield "crop", (_part(shape[0], 0.4, 0.9, rng), _part(shape[1], 0.4, 0.9, rng), everything)


def measure(data: Path | None, virtual: int = 4, draws: int = 5, seed: int = 0) -> list[dict[str, Any]]:
    """Judge scans and parts of them.

    Args:
        data: folder of real scans and label maps; None to do without.
        virtual: patients made of each label map.
        draws: slabs and crops of each scan.
        seed: of virtual patients, phantoms and draws.

    Returns:
        A row for each group, what it shows, and part: the number of ``images``, how many were ``doubted``, and of how
        many the doubt was the ``right`` one.
    """
    rng = np.random.default_rng(seed)
    counts: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for scan in tqdm(_scans(data, virtual, seed), desc="suitability", unit="scan", disable=None):
        for name, part in _parts(scan.hu.shape, draws if scan.shows in (FIT, CONTRAST) else 0, rng):
            shows, hu = scan.shows, scan.hu[part]
            if scan.abdomen is not None and scan.abdomen[part[2]].mean() < SOME_ABDOMEN:
                if shows == CONTRAST:
                    continue  # chest and contrast medium at once
                shows = CHEST
            values = hu.astype(np.float32)
            refused = why_not_hounsfield(values) if shows == OTHER else ""
            said = [refused] if refused else doubts(values, scan.affine)
            right = any(WORDS.get(shows, "") in line for line in said)
            for at, yes in enumerate((True, bool(said), right)):
                counts[scan.group, shows, name][at] += yes
    return [
        {"group": group, "shows": shows, "part": part, "images": images, "doubted": doubted, "right": right}
        for (group, shows, part), (images, doubted, right) in counts.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and, with ``--out``, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("NCE_REAL_DATA"))
    parser.add_argument("--virtual", type=int, default=4, help="virtual patients of each label map")
    parser.add_argument("--draws", type=int, default=5, help="slabs and crops of each scan")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files, which others report
        rows = measure(options.data and Path(options.data), options.virtual, options.draws, options.seed)
    lines = []
    for row in sorted(rows, key=lambda row: row["shows"] != FIT):
        right = "" if row["shows"] in (FIT, OTHER) else row["right"]
        lines.append([row["shows"], row["group"], row["part"], f"{row['doubted']} of {row['images']}", str(right)])
    print(markdown_table(["shows", "scans", "part", "doubted", "for that reason"], lines))
    if options.out:
        settings = {"virtual": options.virtual, "draws": options.draws, "seed": options.seed}
        write_json(options.out, {**settings, "rows": rows})


if __name__ == "__main__":
    main()
