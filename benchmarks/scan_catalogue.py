"""List the real scans of ``NCE_REAL_DATA``, with what was found in them by hand.

``scan_catalogue.json`` names each scan's file, domain (``nect`` or ``cect``), source and licence, and where its organs
are: discs ``[x, y, z, radius]``, one slice thick, in mm of the scan's own RAS+ coordinates. They were placed by looking
at the slices, and at mean and spread of the HU inside. The scans themselves are not part of this repository.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes

from data_prep.geometry import canonical
from monai_nce.data import read_ct
from monai_nce.errors import InputError

__all__ = ["CATALOGUE", "CECT", "NECT", "Scan", "catalogue", "find_scans", "real_data"]

CATALOGUE = Path(__file__).with_suffix(".json")
NECT, CECT = "nect", "cect"
LABELS = "organs.nii.gz"  # beside a scan: its organs, in TotalSegmentator's numbering

Disc = Sequence[float]  # x, y, z, radius in mm
Outlines = Mapping[str, Sequence[Sequence[float]]]  # z in mm: points (x, y) of a polygon


@dataclass(frozen=True)
class Scan:
    """Name a real scan and what is known about it.

    Attributes:
        name: of its rows, pictures and files.
        path: NIfTI file, or folder or file in DICOM.
        domain: ``nect`` or ``cect``.
        labels: label map of its organs, or None.
        discs: organs and other regions that were placed by hand.
        outlines: polygons of what lies inside the muscular wall, by their slices' z.
        source: where it comes from, and its licence.
    """

    name: str
    path: Path
    domain: str = NECT
    labels: Path | None = None
    discs: Mapping[str, Sequence[Disc]] = field(default_factory=dict)
    outlines: Outlines = field(default_factory=dict)
    source: str = ""

    @property
    def about(self) -> str:
        """Describe grid and source in a sentence."""
        hu, affine = self.volume
        shape, sizes = (" × ".join(f"{n:.4g}" for n in of) for of in (hu.shape, voxel_sizes(affine)))
        return f"{shape} voxels of {sizes} mm. {self.source}".strip()

    @cached_property
    def volume(self) -> tuple[np.ndarray, np.ndarray]:
        """Whole HU, float32 of shape (H, W, D), axes towards right, anterior and superior; and the 4×4 affine in mm."""
        hu, affine = canonical(*read_ct(self.path))
        return np.rint(hu), affine


def catalogue() -> dict[str, Any]:
    """Read the catalogue's two tables: ``scans`` by name, and ``pairs`` of slices of one patient."""
    content: dict[str, Any] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return content


def find_scans(folder: Path | None, names: Sequence[str] = ()) -> list[Scan]:
    """Find scans by their names in the catalogue, or by their paths; without names, all of the catalogue.

    A scan given by its path counts as one without contrast medium; ``organs.nii.gz`` beside it is taken for its labels.

    Args:
        folder: what the catalogue's paths start from, ``NCE_REAL_DATA``.
        names: names in the catalogue, or paths.

    Raises:
        InputError: if a scan is neither in the catalogue nor a file, or ``folder`` is needed and missing.
    """
    known = catalogue()["scans"]
    found = []
    for name in names or known:
        if name in known:
            if folder is None:
                raise InputError(f"{name}: expected the folder of the real scans in NCE_REAL_DATA but it is not set")
            found.append(_known(name, folder, known[name]))
        elif Path(name).exists():
            found.append(_given(Path(name)))
        else:
            raise InputError(f"{name}: expected a path, or one of {', '.join(known)}, but there is no such file")
    return found


def _known(name: str, folder: Path, facts: Mapping[str, Any]) -> Scan:
    paths = {key: folder / facts[key] for key in ("path", "labels") if key in facts}
    if missing := next((path for path in paths.values() if not path.exists()), None):
        raise InputError(f"{missing}: no such file; NCE_REAL_DATA is expected to hold the scans of {CATALOGUE.name}")
    return Scan(name, **{**{key: facts[key] for key in facts if key in KEYS}, **paths})


KEYS = ("domain", "discs", "outlines", "source")


def _given(path: Path) -> Scan:
    labels = path.resolve().parent / LABELS
    stem = path.resolve().name.removesuffix(".gz").removesuffix(".nii")
    return Scan(stem, path, labels=labels if labels.is_file() and labels != path.resolve() else None)


def real_data() -> Path | None:
    """Return the folder of the real scans, or None where ``NCE_REAL_DATA`` does not name one."""
    given = os.environ.get("NCE_REAL_DATA")
    return Path(given) if given else None
