"""Folders of scans and results, and studies of them, for the tests of reader studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.study.create import create_study
from tests.bundles.test_inference_dicom import scan

AFFINE = np.array([[-2.5, 0, 0, 60], [0, -2.5, 0, 80], [0, 0, 4.0, -12], [0, 0, 0, 1.0]])
SLICES = 4
METHODS = ("alpha", "beta")


def nect(number: int = 0) -> np.ndarray:
    """A scan (44, 50, 4), a little different for each number."""
    return np.asarray(scan(SLICES) + number, np.int16)


def enhanced(volume: np.ndarray, by: int) -> np.ndarray:
    return np.where((volume > 0) & (volume < 200), volume + by, volume).astype(np.int16)


def write_folders(
    root: Path, cases: Sequence[str] = ("p1", "p2", "p3"), methods: Sequence[str] = METHODS, real: Sequence[str] = ()
) -> tuple[Path, dict[str, str]]:
    """Write a folder of scans and one of results for each method; those of the first method as inference names them."""
    for number, case in enumerate(cases):
        write_nifti_hu(root / "scans" / f"{case}.nii.gz", nect(number), AFFINE)
        for place, method in enumerate(methods):
            name = f"{case}_synthetic_cect.nii.gz" if place == 0 else f"{case}.nii.gz"
            description = f"SYNTHETIC by {method}"
            write_nifti_hu(root / method / name, enhanced(nect(number), 30 + 10 * place), AFFINE, description, method)
        if case in real:
            write_nifti_hu(root / "real" / f"{case}.nii.gz", enhanced(nect(number), 90), AFFINE)
    folders = {method: str(root / method) for method in methods}
    return root / "scans", {**folders, **({"real": str(root / "real")} if real else {})}


def make_study(root: Path, readers: int = 2, repeats: float = 0.34, **asked: object) -> tuple[Path, list[str]]:
    """Make a study of three scans by two methods; return its folder and the readers' secrets."""
    scans, methods = write_folders(root)
    tokens = create_study(root / "study", scans, methods, readers, repeats=repeats, **asked)  # type: ignore[arg-type]
    return root / "study", tokens
