from __future__ import annotations

import itk
import numpy as np
import pytest

from data_prep.registration import bspline
from data_prep.registration.affine import AffineRegistration
from data_prep.registration.bspline import BSplineRegistration
from monai_nce.errors import InputError

needs_elastix = pytest.mark.skipif(not hasattr(itk, "ElastixRegistrationMethod"), reason="itk-elastix is missing")


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bspline, "AFFINE", {"steps": 60, "samples": 1500})
    monkeypatch.setattr(bspline, "BSPLINE", {"steps": 120, "samples": 2000})


def bent(points: np.ndarray) -> np.ndarray:
    """A smooth displacement in mm, up to 9 along x, that no affine transform has."""
    x, y, z = points / np.reshape([120.0, 144.0, 120.0], (3, 1, 1, 1))
    wave = np.sin(2 * np.pi * y) * np.sin(np.pi * z)
    return np.stack([9 * wave, np.zeros_like(wave), 5 * np.sin(np.pi * x) * np.cos(2 * np.pi * y)])


@needs_elastix
@pytest.mark.slow
def test_a_smooth_deformation_is_undone(points, scan, spacing, error, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    truth, fixed, moving = scan(points), scan(points, contrast=True), scan(points + bent(points))
    # moving(p) = scan(p + bent(p)), so what lies at p in the fixed scan lies at about p - bent(p) in the moving one
    method = BSplineRegistration()
    moved = method.register(fixed, moving, spacing)
    assert moved.dtype == np.float32
    assert error(moved, truth) < 0.35 * error(moving, truth)
    assert error(moved, truth) < 0.5 * error(AffineRegistration().register(fixed, moving, spacing), truth)
    found = np.moveaxis(method.displacement(fixed, moving, spacing), -1, 0)
    organs = (truth > 0) & (truth < 150)
    for axis in (0, 2):
        # weakly: inside flat organs nothing tells where a point went
        assert np.corrcoef(found[axis][organs], -bent(points)[axis][organs])[0, 1] > 0.5
    # values are interpolated between those of the scan, never beyond
    assert moving.min() - 0.01 <= moved.min()
    assert 0.8 * moving.max() < moved.max() <= moving.max() + 0.01
    np.testing.assert_array_equal(BSplineRegistration().register(fixed, moving, spacing), moved)
    assert not list(tmp_path.iterdir())  # elastix would leave its files here


@needs_elastix
@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["correlation", "mean_squares"])
def test_within_one_contrast_too(similarity, points, scan, spacing, error) -> None:
    fixed, moving = scan(points), scan(points + bent(points))
    method = BSplineRegistration(similarity=similarity)
    assert error(method.register(fixed, moving, spacing), fixed) < 0.35 * error(moving, fixed)
    assert "bins" not in method.settings()


def test_without_elastix_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bspline, "itk", object())
    with pytest.raises(InputError, match="needs elastix"):
        BSplineRegistration()
