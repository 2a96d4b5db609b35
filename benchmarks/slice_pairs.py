"""Compare slices of one patient on two days after registration, with what motion alone leaves as the floor.

Where one slice is with and the other without contrast medium: the error of the synthetic CECT against the real one.
Where both are without: of one against the other, which no enhancement could undercut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scan_catalogue import CECT, NECT, Scan
from data_prep.geometry import paper_grid, resample
from data_prep.registration import make_registration, pull
from monai_nce.transforms import WindowHU, body_mask

__all__ = ["PIXEL_MM", "REGISTRATIONS", "SlicePair", "find_pairs", "measure_pair"]

REGISTRATIONS = ("affine", "bspline")
SIZE, PIXEL_MM = 256, 1.3333
SLICES, APART_MM = 8, 5.0  # a slice is repeated: the registrations are made for volumes


@dataclass(frozen=True)
class SlicePair:
    """Name two slices of one patient, scans of one slice each; ``fixed`` is the one with contrast medium, if any is."""

    name: str
    fixed: Scan
    moving: Scan

    @property
    def enhanced(self) -> bool:
        """Return whether one of the slices is with contrast medium."""
        return self.fixed.domain == CECT


def find_pairs(folder: Path, known: Mapping[str, Mapping[str, str]]) -> list[SlicePair]:
    """Make the catalogue's pairs; ``folder`` is where its paths start."""
    return [
        SlicePair(
            name,
            Scan(f"{name}, fixed", folder / pair["fixed"], pair.get("fixed_domain", NECT)),
            Scan(f"{name}, moving", folder / pair["moving"]),
        )
        for name, pair in known.items()
    ]


def measure_pair(
    pair: SlicePair,
    synthetic: np.ndarray | None = None,
    seed: int = 0,
    others: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, Any], Any]:
    """Register the moving slice to the fixed one and measure what error is left.

    All is brought to 256 × 256 pixels of 1.333 mm about each slice's body first. The registration sees the acquired
    slices alone, so the synthetic one is moved as they are.

    Args:
        pair: the slices.
        synthetic: what was made of the moving one, on its voxels.
        seed: of the registration.
        others: volumes on the voxels of the moving slice, such as margins of error, that move with it.

    Returns:
        Errors by registration, ``unregistered`` first, and method: ``mse`` on [-1, 1] and ``mae`` in HU, both in the
        paper's window and within the body of the fixed slice; and the images (256, 256) in HU: ``fixed``, and those of
        the methods and the others after the last registration.
    """
    fixed, moving = (_on_grid(scan.volume[0], scan) for scan in (pair.fixed, pair.moving))
    made = {"identity": moving}
    if synthetic is not None:
        made["synthetic"] = _on_grid(synthetic, pair.moving)
    methods = tuple(made)
    made |= {name: _on_grid(volume, pair.moving) for name, volume in (others or {}).items()}
    body = body_mask(fixed[None])[0, ..., 0]

    def errors(images: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        return {name: _error(fixed[..., 0][body], images[name][..., 0][body]) for name in methods}

    rows, moved = {"unregistered": errors(made)}, made
    spacing = (PIXEL_MM, PIXEL_MM, APART_MM)
    slabs = np.repeat(fixed, SLICES, axis=2), np.repeat(moving, SLICES, axis=2)
    for name in REGISTRATIONS:
        points = make_registration(name, seed=seed, progress=False).points(*slabs, spacing)[..., SLICES // 2, None]
        points[2] = 0  # in a single slice again
        moved = {method: pull(image, points, spacing) for method, image in made.items()}
        rows[name] = errors(moved)
    return rows, {"fixed": fixed[..., 0], **{method: image[..., 0] for method, image in moved.items()}}


def _on_grid(hu: np.ndarray, scan: Scan) -> np.ndarray:
    acquired, affine = scan.volume
    return resample(hu, affine, paper_grid(acquired, affine, SIZE, PIXEL_MM))


def _error(real: np.ndarray, image: np.ndarray) -> dict[str, float]:
    window = WindowHU()
    difference = (window(image) - window(real)).numpy()
    return {
        "mse": float(np.square(difference).mean()),
        "mae": float(np.abs(difference).mean()) * window.window_width / 2,
    }
