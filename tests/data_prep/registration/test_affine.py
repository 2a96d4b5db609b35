from __future__ import annotations

import numpy as np
import pytest

from data_prep.registration.affine import AffineRegistration
from monai_nce.errors import InputError


def turned(degrees: float, stretch: float) -> np.ndarray:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return turn @ np.diag([stretch, 1.0, 1.0])


@pytest.mark.parametrize(
    ("matrix", "shift"),
    [(np.eye(3), (7.0, 0.0, 0.0)), (np.eye(3), (0.0, -6.0, 9.0)), (turned(6, 1.06), (3.0, 4.0, -5.0))],
    ids=["along x", "along y and z", "turned and stretched"],
)
def test_a_known_affine_is_undone(matrix, shift, points, scan, spacing, error) -> None:
    centre = points[:, -1, -1, -1] / 2
    offset = centre + shift - matrix @ centre
    # what lies at p in the fixed scan lies at matrix @ p + offset in the moving one
    back = np.linalg.inv(matrix)
    moving = scan(np.tensordot(back, points - offset.reshape(3, 1, 1, 1), axes=1))
    fixed, truth = scan(points, contrast=True), scan(points)
    found, found_offset = AffineRegistration().matrix(fixed, moving, spacing)
    inside = centre + np.array([[0, 0, 0], [25, 0, 0], [-25, 0, 0], [0, 25, 0], [0, -25, 0], [0, 0, 30], [0, 0, -30]])
    misplaced = (inside @ found.T + found_offset) - (inside @ matrix.T + offset)
    assert np.linalg.norm(misplaced, axis=1).max() < 1.5  # mm, of voxels of 3 to 6
    moved = AffineRegistration().register(fixed, moving, spacing)
    assert error(moved, truth) < 0.15 * error(moving, truth)


@pytest.mark.parametrize("similarity", ["correlation", "mean_squares"])
def test_within_one_contrast_a_known_shift_comes_back_in_mm(similarity, points, scan, spacing) -> None:
    shift = np.array([7.0, -6.0, 9.0])
    moving = scan(points - shift.reshape(3, 1, 1, 1))  # what lies at p in the fixed scan lies at p + shift in this one
    method = AffineRegistration(similarity=similarity)
    found, offset = method.matrix(scan(points), moving, spacing)
    centre = points[:, -1, -1, -1] / 2
    np.testing.assert_allclose(found @ centre + offset - centre, shift, atol=0.5)
    assert "bins" not in method.settings() and method.settings()["metric"] != AffineRegistration().settings()["metric"]


def test_hu_are_those_of_the_scan(points, scan, spacing) -> None:
    moving = scan(points - np.reshape([6.0, 0, 0], (3, 1, 1, 1)))
    moved = AffineRegistration().register(scan(points, contrast=True), moving, spacing)
    assert moved.shape == moving.shape
    assert moved.dtype == np.float32
    assert moved.min() >= moving.min()
    assert 0.8 * moving.max() < moved.max() <= moving.max() + 0.01  # bone, far beyond the window, is not cut off
    np.testing.assert_allclose(moved[0, 0], moving[0, 0], atol=5)


def test_beyond_the_volume_its_edge_goes_on(points, scan, spacing) -> None:
    moving = scan(points + np.reshape([0, 0, 18.0], (3, 1, 1, 1)))
    moved = AffineRegistration().register(scan(points, contrast=True), moving, spacing)
    middle = tuple(n // 2 for n in moved.shape[:2])
    assert moved[middle].min() > -200


def test_the_same_twice_and_from_int16(points, scan, spacing) -> None:
    fixed, moving = scan(points, contrast=True), scan(points + 4)
    fixed, moving = np.rint(fixed).astype(np.int16), np.rint(moving).astype(np.int16)
    first = AffineRegistration(seed=3).register(fixed, moving, spacing)
    np.testing.assert_array_equal(AffineRegistration(seed=3).register(fixed, moving, spacing), first)
    as_float = AffineRegistration(seed=3).register(fixed.astype(np.float32), moving.astype(np.float32), spacing)
    np.testing.assert_array_equal(as_float, first)


def test_few_slices(points, scan, spacing) -> None:
    fixed, moving = scan(points, contrast=True)[..., 8:12], scan(points + 4)[..., 8:12]
    assert np.isfinite(AffineRegistration().register(fixed, moving, spacing)).all()


def test_a_window_without_width_is_refused() -> None:
    with pytest.raises(InputError, match="window_width"):
        AffineRegistration(window_width=0)
    with pytest.raises(
        InputError, match="similarity: expected one of mutual_information, correlation, mean_squares but"
    ):
        AffineRegistration(similarity="entropy")
