"""Registration brings slices together, and all images on the moving one move alike."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.scan_catalogue import CECT, Scan
from benchmarks.slice_pairs import SlicePair, find_pairs, measure_pair

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def body(moved: float, enhanced: float = 0.0) -> np.ndarray:
    """A body with two organs, of which the inside is ``moved`` mm against the skin."""
    x, y = np.meshgrid(*2 * [2.0 * np.arange(160) - 159], indexing="ij")
    hu = np.where(np.hypot(x / 1.3, y) < 95, -100.0, -1000.0)
    hu[np.hypot((x - moved) / 1.3, y) < 75] = 30
    hu[np.hypot(x - 40 - moved, y - 10) < 28] = 60 + enhanced
    hu[np.hypot(x + 45 - moved, y + 15) < 18] = 45 + enhanced
    return (hu + np.random.default_rng(int(moved)).normal(0, 5, hu.shape))[..., None]


@pytest.fixture
def pair(tmp_path: Path) -> SlicePair:
    for name, hu in (("a", body(0, 80)), ("b", body(9))):
        nib.save(nib.Nifti1Image(hu.astype(np.int16), AFFINE), tmp_path / f"{name}.nii.gz")
    return SlicePair("pair", Scan("a", tmp_path / "a.nii.gz", CECT), Scan("b", tmp_path / "b.nii.gz"))


@pytest.mark.slow  # elastix
def test_the_right_enhancement_is_nearer_than_the_slice_as_it_was(pair):
    plain = pair.moving.volume[0]
    rows, images = measure_pair(pair, np.where(plain > 38, plain + 80, plain))
    assert list(rows) == ["unregistered", "affine", "bspline"]
    assert rows["bspline"]["synthetic"]["mse"] < 0.5 * rows["unregistered"]["synthetic"]["mse"]
    for errors in rows.values():
        assert errors["synthetic"]["mse"] < errors["identity"]["mse"]
    assert set(images) == {"fixed", "identity", "synthetic"}
    assert {image.shape for image in images.values()} == {(256, 256)}


@pytest.mark.slow  # elastix
def test_without_contrast_medium_there_is_motion_alone(pair):
    rows, _ = measure_pair(SlicePair("motion", pair.moving, pair.moving))
    assert rows["unregistered"] == {"identity": {"mse": 0, "mae": 0}}
    assert rows["bspline"]["identity"]["mae"] < 3


def test_pairs_of_the_catalogue():
    known = {"one": {"fixed": "a.dcm", "moving": "b.dcm", "fixed_domain": "cect"}, "two": {"fixed": "c", "moving": "d"}}
    one, two = find_pairs(Path("data"), known)
    assert one.enhanced and one.fixed.path == Path("data/a.dcm") and not two.enhanced
