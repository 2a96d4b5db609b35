"""Measure how often the reader takes values for Hounsfield units that are none, and the other way round.

    python -m benchmarks.hounsfield [--data DIR] [--draws N] [--seed S] [--out FILE]

``--data`` is a folder laid out as ``NCE_REAL_DATA``, which is its default; without either, phantoms alone are used.
Each CT is judged as it is and in ways that are still a CT: crops, with noise, with metal and so on. Then the same are
spoilt in ways that files are, whole and as crops. Crops of air alone, and those that spoiling leaves as they were, are
not counted.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from benchmarks.markdown import markdown_table
from monai_nce.data import write_json
from monai_nce.data.dicom.reader import read_dicom
from monai_nce.data.nifti.reader import read_nifti
from monai_nce.data.scans.hounsfield import why_not_hounsfield
from monai_nce.phantom import make_phantom_patient

__all__ = ["FAULTS", "GENUINE", "MR_FAULTS", "main", "measure"]

Change = Callable[[np.ndarray, np.random.Generator], "np.ndarray | None"]
CT_NIFTI = ("nect_abdomen/ct.nii.gz", "real_scans/*.nii.gz")
CT_DICOM = ("cect_abdomen_dicom/series", "pair_2d_dicom/*.dcm", "motion_controls_2d/*/*.dcm")
MR = ("t2_pd_template/*.nii", "mr_contrast/**/*.nii*")
LABELS = ("*/organs.nii.gz", "labels/**/*.nii.gz")
PHANTOMS = 4
TRIES = 60
AIR, LUNG = -850, (-950, -600)
SOME_TISSUE = -900  # a crop of air alone counts for nothing
LEAST = 1000  # voxels of a crop


def crop(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a box out, of 10 to 90 % of each side."""
    sides = [max(round(size * rng.uniform(0.1, 0.9)), 1) for size in hu.shape]
    starts = [rng.integers(0, size - side + 1) for size, side in zip(hu.shape, sides, strict=True)]
    return hu[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))]


def _crop_where(hu: np.ndarray, rng: np.random.Generator, fits: Callable[[np.ndarray], bool]) -> np.ndarray | None:
    for _ in range(TRIES):
        box = crop(crop(hu, rng), rng)
        if box.size >= LEAST and fits(box):
            return box
    return None


def crop_without_air(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Cut out a box with hardly any air, or return None if none was found."""
    return _crop_where(hu, rng, lambda box: bool(np.mean(box < AIR) < 1e-3))


def crop_of_lung(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Cut out a box that is mostly lung, or return None if none was found."""
    return _crop_where(hu, rng, lambda box: bool(np.mean((box > LUNG[0]) & (box < LUNG[1])) > 0.5))


def low_dose(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise of 40 to 120 HU, and cut off what lies below -1024 as half of the scanners do."""
    noise = ndimage.gaussian_filter(rng.standard_normal(hu.shape), (0.6, 0.6, 0))
    noisy = hu + noise * (rng.uniform(40, 120) / noise.std())
    noisy = np.maximum(noisy, -1024) if rng.random() < 0.5 else noisy
    return np.where(hu < -1024, hu, noisy)  # padding has none


def metal(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a rod of metal in, with dark and bright streaks around it."""
    x, y = np.meshgrid(*(np.arange(size) - size * rng.uniform(0.4, 0.6) for size in hu.shape[:2]), indexing="ij")
    radius = np.hypot(x, y)
    rod = min(hu.shape[:2]) * rng.uniform(0.02, 0.06)
    streaks = 600 * np.cos(2 * np.arctan2(y, x) * rng.integers(1, 4)) * rod / np.maximum(radius, rod)
    top = rng.choice([3071, 8000, 30000])
    return np.clip(np.where((radius < rod)[..., None], top, hu + streaks[..., None]), -1024, top)


def child(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Make the body a third to two thirds as large, with half of its fat."""
    factor = rng.uniform(0.33, 0.67)
    small = ndimage.zoom(hu, (factor, factor, 1), order=1)
    lean = np.where((small > -150) & (small < -30) & (rng.random(small.shape) < 0.5), small + 130, small)
    rest = [size - part for size, part in zip(hu.shape, lean.shape, strict=True)]
    return np.pad(lean, [(side // 2, side - side // 2) for side in rest], constant_values=-1000)


def padded(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill what lies outside the scanner's circle."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, size) for size in hu.shape[:2]), indexing="ij")
    return np.where((np.hypot(x, y) > 1)[..., None], rng.choice([-1024, -2000, -3024, -32768]), hu)


def turned(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn the slices; what comes in at the corners is 0, as resampling programs leave it."""
    return ndimage.rotate(hu, rng.uniform(5, 40), reshape=False, order=1, cval=0)


def _window(low: float, high: float, first: float, last: float) -> Change:
    return lambda hu, rng: (np.clip(hu, low, high) - low) / (high - low) * (last - first) + first


def _picture(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.rint((np.clip(hu, -160, 240) + 160) / 400 * 255)


def _one(change: Change) -> Change:
    """Put a single voxel below 0 in after a change."""

    def changed(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
        values = change(hu, rng)
        if values is not None:
            values = values.copy()
            values.flat[rng.integers(values.size)] = -1
        return values

    return changed


def _z_score(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (hu - hu.mean()) / hu.std()


GENUINE: dict[str, Change] = {
    "as it is": lambda hu, rng: hu,
    "crop": crop,
    "crop without air": crop_without_air,
    "crop of lung": crop_of_lung,
    "one slice": lambda hu, rng: hu[:, :, rng.integers(hu.shape[2]), None],
    "low dose": low_dose,
    "metal": metal,
    "a child's size": child,
    "padding of -1024 to -32768": padded,
    "turned, 0 beyond": turned,
}
RAW: Change = lambda hu, rng: np.maximum(hu + 1024, 0)  # noqa: E731
FAULTS: dict[str, Change] = {
    "raw, offset 1024, one voxel below 0": _one(RAW),
    "raw, offset 1000, noise below 0": lambda hu, rng: hu + 1000,
    "raw, padding of -1024 to -32768": lambda hu, rng: np.where((p := padded(hu, rng)) == hu, hu + 1024, p),
    "raw, low dose": lambda hu, rng: low_dose(hu, rng) + 1024,
    "raw, offset 8192, one voxel below 0": _one(lambda hu, rng: hu + 8192),
    "12-bit values wrapped": lambda hu, rng: (np.rint(hu) + (k := rng.integers(1, 25))) % 4096 - k,
    "intercept applied twice": lambda hu, rng: hu - 1024,
    "intercept applied twice, floor at -1024": lambda hu, rng: np.maximum(hu, -1024) - 1024,
    "sign turned": lambda hu, rng: -hu,
    "sign dropped, one voxel below 0": _one(lambda hu, rng: np.abs(hu)),
    "scaled to [-1, 1]": _window(-1000, 1000, -1, 1),
    "window scaled to [-1, 1]": _window(-100, 200, -1, 1),
    "scaled to [0, 1], one voxel below 0": _one(_window(-1000, 1000, 0, 1)),
    "z-score": _z_score,
    "HU / 1000": lambda hu, rng: hu / 1000,
    "8-bit picture, one voxel below 0": _one(_picture),
}
MR_FAULTS: dict[str, Change] = {
    "MR, one voxel below 0": _one(lambda mr, rng: mr),
    "MR, noise about 0": lambda mr, rng: mr + rng.normal(0, 0.003 * max(np.percentile(mr, 99), 1), mr.shape),
    "MR, to 1000, ringing": lambda mr, rng: _ringing(mr * (1000 / max(np.percentile(mr, 99.5), 1e-6))),
    "MR, z-score": _z_score,
}


def _ringing(values: np.ndarray) -> np.ndarray:
    """Sharpen edges until they overshoot, as interpolation and truncated k-space do."""
    return values + 0.5 * (values - ndimage.gaussian_filter(values, 1))


def _found(data: Path | None, patterns: tuple[str, ...], read: Callable[[Path], Any]) -> Iterator[np.ndarray]:
    for path in sorted({path for pattern in patterns for path in (data.glob(pattern) if data else ())}):
        yield read(path)[0].astype(np.float32)


def measure(data: Path | None, draws: int = 10, seed: int = 0) -> list[dict[str, Any]]:
    """Judge scans, genuine and spoilt.

    Args:
        data: folder of real scans; None to use phantoms alone.
        draws: of each change that depends on chance, for each scan.
        seed: of all draws.

    Returns:
        A row for each change: ``change``, ``genuine``, number of ``images`` and how many of them were judged ``wrong``.
    """
    rng = np.random.default_rng(seed)
    real = [*_found(data, CT_NIFTI, read_nifti), *_found(data, CT_DICOM, read_dicom)]
    phantoms = [make_phantom_patient(index) for index in range(PHANTOMS)]
    groups = {
        "real CT": (real, FAULTS),
        "phantom": ([volume.astype(np.float32) for one in phantoms for volume in (one.nect, one.cect)], FAULTS),
        "real MR": (list(_found(data, MR, read_nifti)), MR_FAULTS),
        "label map": (list(_found(data, LABELS, read_nifti)), {"labels, one voxel below 0": _one(lambda x, rng: x)}),
    }
    rows = []
    for group, (scans, faults) in groups.items():
        genuine = GENUINE if faults is FAULTS else {}
        for change, (make, right) in {k: (m, g is genuine) for g in (genuine, faults) for k, m in g.items()}.items():
            for part in ("whole",) if right else ("whole", "crop"):
                images = wrong = 0
                for scan in tqdm(scans, desc=f"{group}, {change}", leave=False, disable=None):
                    for _ in range(1 if part == "whole" and not right else draws):
                        before = scan if part == "whole" else crop(scan, rng)
                        values = make(before, rng)
                        if values is None or values.size < LEAST or np.mean(before > SOME_TISSUE) < 0.01:
                            continue
                        if not right and np.array_equal(np.maximum(values, -1024), np.maximum(before, -1024)):
                            continue
                        images += 1
                        wrong += bool(why_not_hounsfield(values.astype(np.float32))) is right
                        if change == "as it is":
                            break
                row = {"group": group, "change": change, "part": part, "genuine": right}
                rows.append({**row, "images": images, "wrong": wrong})
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and, with ``--out``, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("NCE_REAL_DATA"))
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    rows = measure(options.data, options.draws, options.seed)
    for genuine, title in ((True, "CT, refused"), (False, "no CT in HU, accepted")):
        lines = []
        chosen = [row for row in rows if row["genuine"] is genuine]
        for change in dict.fromkeys((row["change"], row["part"]) for row in chosen):
            cells = []
            for made_up in (False, True):
                these = [
                    r for r in chosen if (r["change"], r["part"]) == change and (r["group"] == "phantom") is made_up
                ]
                wrong, images = (sum(row[key] for row in these) for key in ("wrong", "images"))
                cells.append(f"{wrong} of {images}" if images else "")
            name = change[0] + (", crop" if change[1] == "crop" else "")
            lines.append([name, *cells])
        print(markdown_table([title, "real", "made up"], lines), end="\n\n")
    if options.out:
        write_json(options.out, {"seed": options.seed, "draws": options.draws, "rows": rows})


if __name__ == "__main__":
    main()
