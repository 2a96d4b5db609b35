"""Measure by how many HU the organs of a scan rose, and judge it by the literature and by anatomy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from scipy import ndimage

from benchmarks.scan_regions import BONE, FAT, MUSCLE
from monai_nce.metrics.organ_table import LITERATURE
from monai_nce.virtual import expected_enhancement

__all__ = ["FOLLOWED", "JUDGED", "ORGANS", "Check", "checks", "largest_rise", "measure_rise", "moved_rise"]

# The literature's name for a region, by which its rise is looked up.
ORGANS: dict[str, str] = {
    **LITERATURE,
    **dict.fromkeys((MUSCLE, "paraspinal_muscle", "psoas", "gluteal_muscle"), "muscle"),
    **{FAT: "fat", BONE: "bone", "bowel_content": "fluid"},
}
JUDGED = ("liver", "spleen", "kidney_right", "kidney_left", "aorta")  # by the literature's mean
MUSCLES = tuple(region for region, organ in ORGANS.items() if organ == "muscle")
FOLLOWED = (*JUDGED, "inferior_vena_cava", "portal_vein")  # where a scan is moved
# where nothing may light up
WATCHED = (
    *MUSCLES,
    FAT,
    "subcutaneous_fat",
    "urinary_bladder",
    "gallbladder",
    "effusion",
    "bowel_content",
)
STILL = (FAT, "subcutaneous_fat", BONE)

OFF_HU = 25.0  # from the literature's mean
MUSCLE_HU = 20.0
STILL_HU = 5.0
KIDNEY_RATIO = (0.75, 1.33)
AORTA_VARIATION = 0.2
BRIGHT_HU, BRIGHT_CM3 = 40.0, 2.0
SEEN = 0.2  # part of an organ that a moved scan must still show


@dataclass(frozen=True)
class Check:
    """Set a measured value against what it may be; ``value`` is None where it could not be measured."""

    what: str
    value: float | None
    low: float | None
    high: float | None
    unit: str = "HU"

    @property
    def passed(self) -> bool:
        if self.value is None:
            return False
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    def plain(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def measure_rise(
    hu: np.ndarray, synthetic: np.ndarray, affine: np.ndarray, regions: Mapping[str, np.ndarray], phase: str
) -> dict[str, Any]:
    """Measure all regions of a scan.

    Args:
        hu, synthetic: the scan before and after, (H, W, D); ``hu`` twice measures identity.
        affine: 4×4, axes towards right, anterior and superior, in mm.
        regions: masks by name.
        phase: one of :data:`monai_nce.virtual.PHASES`.

    Returns:
        ``regions``: for each its volume, mean HU and standard deviation before, mean rise, and what the literature lets
        ``expect`` of it (mean, low, high) or None; ``kidney_ratio`` of right to left rise; ``aorta_variation`` along z;
        and ``largest``, the largest connected piece that rose by more than 40 HU, in each region where none should.
    """
    rise = synthetic - hu
    voxel_cm3 = float(np.prod(voxel_sizes(affine))) / 1000
    rows: dict[str, Any] = {}
    for name, mask in regions.items():
        rows[name] = {
            "cm3": float(np.count_nonzero(mask)) * voxel_cm3,
            "hu": float(hu[mask].mean()),
            "deviation": float(hu[mask].std()),
            "rise": float(rise[mask].mean()),
            "expected": expected_enhancement(ORGANS[name], phase) if name in ORGANS else None,
        }
    right, left = (rows.get(f"kidney_{side}", {}).get("rise") for side in ("right", "left"))
    return {
        "regions": rows,
        "kidney_ratio": right / left if right is not None and left else None,
        "aorta_variation": variation_along_z(synthetic, regions["aorta"]) if "aorta" in regions else None,
        "largest": {name: largest_rise(rise, regions[name], affine) for name in WATCHED if name in regions},
    }


def variation_along_z(hu: np.ndarray, mask: np.ndarray) -> float | None:
    """Return the coefficient of variation of a vessel's mean HU from slice to slice; None for fewer than three."""
    slices = zip(np.moveaxis(hu, 2, 0), np.moveaxis(mask, 2, 0), strict=True)
    means = [plane[part].mean() for plane, part in slices if part.any()]
    return float(np.std(means) / np.mean(means)) if len(means) >= 3 and np.mean(means) > 0 else None


def largest_rise(rise: np.ndarray, mask: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    """Find the largest connected piece of a region that rose by more than 40 HU.

    Returns:
        Its volume ``cm3``, 0 where there is none; ``at``, its centre in mm, or None; its mean ``rise``, or None.
    """
    pieces, count = ndimage.label(mask & (rise > BRIGHT_HU))
    if not count:
        return {"cm3": 0.0, "at": None, "rise": None}
    voxels = np.bincount(pieces.ravel())[1:]
    largest = pieces == int(voxels.argmax()) + 1
    at = apply_affine(affine, np.argwhere(largest).mean(axis=0))
    volume = float(voxels.max()) * float(np.prod(voxel_sizes(affine))) / 1000
    return {"cm3": volume, "at": [round(float(mm)) for mm in at], "rise": float(rise[largest].mean())}


def checks(measured: Mapping[str, Any]) -> Iterator[Check]:
    """Yield the checks that can be made of what :func:`measure_rise` gave."""
    regions = measured["regions"]
    for name in JUDGED:
        if name in regions:
            mean = regions[name]["expected"][0]
            yield Check(f"{name}: rise", regions[name]["rise"], mean - OFF_HU, mean + OFF_HU)
    if {"kidney_right", "kidney_left"} <= set(regions):
        yield Check("rise of the right kidney to the left", measured["kidney_ratio"], *KIDNEY_RATIO, unit="")
    if measured["aorta_variation"] is not None:
        yield Check("aorta: variation along z", measured["aorta_variation"], None, AORTA_VARIATION, unit="")
    for name in MUSCLES:
        if name in regions:
            yield Check(f"{name}: rise", regions[name]["rise"], None, MUSCLE_HU)
    for name in STILL:
        if name in regions:
            yield Check(f"{name}: rise", regions[name]["rise"], -STILL_HU, STILL_HU)
    for name, piece in measured["largest"].items():
        yield Check(f"{name}: largest piece above +{BRIGHT_HU:g} HU", piece["cm3"], None, BRIGHT_CM3, unit="cm³")


def moved_rise(
    probe: str, rise: np.ndarray, moved: np.ndarray, regions: Mapping[str, np.ndarray], tolerance: float
) -> list[dict[str, Any]]:
    """Compare each organ's mean rise where the scan was moved with that where it was not, in voxels that both show.

    Args:
        probe: how the scan was moved.
        rise, moved: what rose without and with it, on the same voxels; NaN where the moved scan shows nothing.
        regions: masks by name.
        tolerance: HU by which they may differ.

    Returns:
        For each organ of which the moved scan shows a fifth or more: ``organ``, ``probe``, and the difference, checked.
    """
    found = []
    for organ in FOLLOWED:
        if organ in regions and (shown := regions[organ] & np.isfinite(moved)).sum() >= SEEN * regions[organ].sum():
            change = float(moved[shown].mean() - rise[shown].mean())
            found.append({"organ": organ, "probe": probe, **Check(organ, change, -tolerance, tolerance).plain()})
    return found
