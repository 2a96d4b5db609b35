"""Regions lie where they were placed, drawn, labelled or to be expected by their HU."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.scan_catalogue import Scan
from benchmarks.scan_regions import discs_mask, find_regions, inside_outlines
from monai_nce.errors import InputError

SHAPE = (80, 64, 10)
AFFINE = np.array([[3.0, 0, 0, -120], [0, 3.0, 0, -96], [0, 0, 5.0, 100], [0, 0, 0, 1]])


def body() -> np.ndarray:
    """Fat, a wall of muscle, an inside at 45 HU, a vertebra of bone with marrow, a calcification, and a table."""
    x, y = (AFFINE[i, i] * np.arange(n) + AFFINE[i, 3] for i, n in enumerate(SHAPE[:2]))
    r = np.hypot(x[:, None] / 1.2, y)
    hu = np.full(SHAPE, -1000.0)
    hu[r < 80] = -100
    hu[r < 65] = 55
    hu[r < 50] = 45
    spine = np.hypot(x[:, None], y + 45)
    hu[spine < 15] = 500
    hu[spine < 9] = 60
    hu[60:61, 40:41] = 400
    hu[5:75, 2:3] = 900
    return hu


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    nib.save(nib.Nifti1Image(body().astype(np.int16), AFFINE), tmp_path / "ct.nii.gz")
    return Scan("body", tmp_path / "ct.nii.gz")


def test_discs_are_one_slice_thick():
    mask = discs_mask([[30, 0, 121, 9], [30, 0, 131, 6], [0, 0, 999, 9], [-60, 0, 100, 0.5]], SHAPE, AFFINE)
    assert np.flatnonzero(mask.any(axis=(0, 1))).tolist() == [0, 4, 6]
    assert mask[50, 32, 4] and not mask[50, 32, 5]
    assert mask[..., 4].sum() * 9 == pytest.approx(np.pi * 9**2, rel=0.15)
    assert mask[..., 0].sum() == 1 and mask[20, 32, 0]


def test_outlines_are_filled_and_interpolated():
    def square(half: float) -> list[list[float]]:
        return [[-half, -half], [half, -half], [half, half], [-half, half]]

    mask = inside_outlines({"110": square(30), "130": square(60)}, SHAPE, AFFINE)
    widths = mask.any(axis=1).sum(axis=0) * 3
    assert widths.tolist()[:2] == [0, 0] and widths.tolist()[7:] == [0, 0, 0]
    assert widths[[2, 6]] == pytest.approx([60, 120], abs=3)
    assert widths[4] == pytest.approx(90, abs=6)


def test_regions_by_hu(scan):
    regions = find_regions(scan)
    assert set(regions) == {"fat", "bone"}
    hu = scan.volume[0]
    assert set(np.unique(hu[regions["fat"]])) == {-100} and set(np.unique(hu[regions["bone"]])) == {500}


def test_muscle_is_the_soft_tissue_outside_the_outlines(scan, tmp_path):
    points = [[1.2 * 50 * np.cos(a), 50 * np.sin(a)] for a in np.linspace(0, 2 * np.pi, 60, endpoint=False)]
    drawn = Scan("body", scan.path, outlines={"110": points, "130": points})
    muscle = find_regions(drawn)["muscle"]
    assert np.flatnonzero(muscle.any(axis=(0, 1))).tolist() == [2, 3, 4, 5, 6]
    hu = scan.volume[0]
    assert (hu[muscle] == 55).mean() > 0.95 and not (hu[muscle] == 60).any()
    assert muscle[..., 4].sum() > 0.5 * (hu[..., 4] == 55).sum()


def test_labels_lose_their_rim(scan, tmp_path):
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[50:60, 20:30], labels[20:30, 20:30], labels[40:42, 30:40] = 5, 1, 52
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "organs.nii.gz")
    regions = find_regions(Scan("body", scan.path, labels=tmp_path / "organs.nii.gz"))
    expected = np.zeros(SHAPE, dtype=bool)
    expected[51:59, 21:29] = True
    np.testing.assert_array_equal(regions["liver"], expected)
    assert "aorta" not in regions  # nothing of it is left


def test_labels_of_another_grid_are_refused(scan, tmp_path):
    labels = np.zeros((40, 40, 8), dtype=np.uint8)
    labels[30:], labels[:10], labels[20:22] = 5, 1, 52
    nib.save(nib.Nifti1Image(labels, AFFINE), tmp_path / "organs.nii.gz")
    with pytest.raises(InputError, match=r"organs.nii.gz: expected the grid of the scan"):
        find_regions(Scan("body", scan.path, labels=tmp_path / "organs.nii.gz"))
