"""Measure how often the phase of a CT is decided rightly: with contrast medium or without, or neither.

    python -m benchmarks.phase [--data DIR] [--virtual N] [--phantoms N] [--seed S] [--out FILE]

``--data`` is a folder laid out as ``NCE_REAL_DATA``, which is its default: real scans of which it is known, and label
maps of which so many virtual patients each are made. Each scan is judged by what is written about it, by its image, and
by both, as ``inspect`` and inference do.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import made_patients
from benchmarks.markdown import markdown_table
from monai_nce.data import FoundVolume, find_images, read_ct, write_json
from monai_nce.data.scans.phase import CECT, NECT, UNKNOWN, phase_from_image, phase_hint

__all__ = ["main", "measure"]

# What the scans show, looked up in them and in their studies' names.
KNOWN = {
    "nect_abdomen/ct.nii.gz": NECT,
    "cect_abdomen_dicom/series": CECT,
    "real_scans/nect_*.nii.gz": NECT,
    "real_scans/cect_*.nii.gz": CECT,
    "motion_controls_2d/*/*.dcm": NECT,
    "pair_2d_dicom/19001229*.dcm": NECT,
    "pair_2d_dicom/19010107*.dcm": CECT,
}
WAYS = ("written", "image", "both")


class Scan(NamedTuple):
    """One scan, where it comes from, and what it shows."""

    group: str
    shows: str
    found: FoundVolume
    hu: np.ndarray
    affine: np.ndarray


def _scans(data: Path | None, virtual: int, phantoms: int, seed: int) -> Iterator[Scan]:
    for pattern, shows in KNOWN.items():
        for path in sorted(data.glob(pattern) if data else ()):
            for found in find_images(path):
                yield Scan(f"real, {found.kind.upper()}", shows, found, *read_ct(found))
    nothing = FoundVolume("nifti", Path(), ())
    for patient in made_patients.virtual_patients(data, virtual, seed):
        yield Scan("virtual", NECT, nothing, patient.nect, patient.affine)
        yield Scan("virtual", CECT, nothing, patient.cect, patient.affine)
    for made in made_patients.phantoms(phantoms, seed):
        yield Scan("phantom", NECT, nothing, made.nect, made.affine)
        yield Scan("phantom", CECT, nothing, made.cect, made.affine)


def measure(data: Path | None, virtual: int = 4, phantoms: int = 8, seed: int = 0) -> list[dict[str, Any]]:
    """Judge scans.

    Args:
        data: folder of real scans and label maps; None to do without.
        virtual: patients made of each label map.
        phantoms: patients made of ellipsoids.
        seed: of virtual patients and phantoms.

    Returns:
        A row for each group and what it shows: the number of ``scans``, and for each of ``written``, ``image`` and
        ``both`` how many were decided ``right`` and ``wrong``; of the others nothing was said.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    for scan in tqdm(_scans(data, virtual, phantoms, seed), desc="phase", unit="scan", disable=None):
        said = (
            phase_hint(scan.found),
            phase_from_image(scan.hu, scan.affine),
            phase_hint(scan.found, scan.hu, scan.affine),
        )
        counts[scan.group, scan.shows, "scans", ""] += 1
        for way, phase in zip(WAYS, said, strict=True):
            if phase != UNKNOWN:
                counts[scan.group, scan.shows, way, "right" if phase == scan.shows else "wrong"] += 1
    return [
        {
            "group": group,
            "shows": shows,
            "scans": counts[group, shows, "scans", ""],
            **{way: {how: counts[group, shows, way, how] for how in ("right", "wrong")} for way in WAYS},
        }
        for group, shows in dict.fromkeys(key[:2] for key in counts)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and, with ``--out``, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("NCE_REAL_DATA"))
    parser.add_argument("--virtual", type=int, default=4, help="virtual patients of each label map")
    parser.add_argument("--phantoms", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of files, which others report
        rows = measure(options.data and Path(options.data), options.virtual, options.phantoms, options.seed)
    lines = [
        [row["group"], row["shows"], str(row["scans"]), *(f"{row[w]['right']} / {row[w]['wrong']}" for w in WAYS)]
        for row in rows
    ]
    print(markdown_table(["scans", "shows", "number", *(f"{way}, right / wrong" for way in WAYS)], lines))
    if options.out:
        settings = {"virtual": options.virtual, "phantoms": options.phantoms, "seed": options.seed}
        write_json(options.out, {**settings, "rows": rows})


if __name__ == "__main__":
    main()
