from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import voxel_sizes

from data_prep.mri_volume import central_slices, full_scale, resize_in_plane, scale_intensity
from monai_nce.errors import InputError

# a little oblique, so that no term of the affine can be forgotten
OBLIQUE = np.array([[0.9, 0.1, 0.2, -30], [-0.1, 0.9, 0.1, 50], [-0.1, -0.1, 2.4, -7], [0, 0, 0, 1.0]])


def world(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def linear(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return world(shape, affine) @ [2.0, -3.0, 5.0] + 1000


@pytest.mark.parametrize(("slices", "kept"), [(4, [3, 4, 5, 6]), (3, [3, 4, 5]), (10, list(range(10))), (1, [4])])
def test_the_slices_in_the_middle(slices: int, kept: list[int]) -> None:
    volume = linear((3, 2, 10), OBLIQUE)
    central, affine = central_slices(volume, OBLIQUE, slices)
    np.testing.assert_array_equal(central, volume[:, :, kept])
    np.testing.assert_allclose(linear(central.shape, affine), central)


@pytest.mark.parametrize("size", [10, 20, 27, 40])
def test_every_value_stays_at_its_place(size: int) -> None:
    """A linear function of the position is what bilinear interpolation keeps, if the new affine is right."""
    resized, affine = resize_in_plane(linear((20, 20, 3), OBLIQUE), OBLIQUE, size)
    assert resized.shape == (size, size, 3)
    edge = 1 + size // 20
    inner = (slice(edge, -edge), slice(edge, -edge))
    np.testing.assert_allclose(resized[inner], linear(resized.shape, affine)[inner], rtol=1e-5)
    np.testing.assert_allclose(voxel_sizes(affine)[:2], voxel_sizes(OBLIQUE)[:2] * 20 / size)
    np.testing.assert_allclose(affine[:3, 2], OBLIQUE[:3, 2])


@pytest.mark.parametrize(("shape", "spacing"), [((20, 26), (1, 1)), ((27, 20), (1, 1)), ((20, 20), (1.0, 1.5))])
def test_slices_that_are_not_square_are_padded_about_their_centre(shape: tuple, spacing: tuple) -> None:
    straight = np.diag([*spacing, 3.0, 1.0])
    straight[:3, 3] = 5, 6, 7
    resized, affine = resize_in_plane(linear((*shape, 2), straight), straight, 60)
    np.testing.assert_allclose(voxel_sizes(affine)[0], voxel_sizes(affine)[1], rtol=1e-6)
    middle = np.array([(shape[0] - 1) / 2, (shape[1] - 1) / 2, 0, 1])
    odd = np.array([spacing[0], spacing[1], 0]) / 2  # an odd number of pixels cannot be shared
    assert (abs((affine @ [29.5, 29.5, 0, 1] - straight @ middle)[:3]) <= odd + 1e-9).all()
    # the corners of the padding are empty, and what was there is where it was
    wide = np.argmax(np.array(shape) * spacing)
    assert not np.take(resized, (0, 59), axis=1 - wide).any()
    inside = (world(resized.shape, affine)[..., :2] > [5 + 2 * spacing[0], 6 + 2 * spacing[1]]).all(-1)
    last = [5 + (shape[0] - 3) * spacing[0], 6 + (shape[1] - 3) * spacing[1]]
    inside &= (world(resized.shape, affine)[..., :2] < last).all(-1)
    np.testing.assert_allclose(resized[inside], linear(resized.shape, affine)[inside], rtol=1e-5)
    assert inside.mean() > 0.3


def test_reducing_does_not_alias() -> None:
    stripes = np.zeros((60, 60, 1))
    stripes[::2] = 100
    resized, _ = resize_in_plane(stripes, np.eye(4), 23)
    assert abs(resized[2:-2] - 50).max() < 5


def test_full_scale_by_hand() -> None:
    volume = np.random.default_rng(0).permutation(np.arange(1001.0)).reshape(7, 11, 13)
    assert full_scale(volume) == pytest.approx(995)
    np.testing.assert_allclose(
        scale_intensity(np.array([-3, 0, 99.5, 497.5, 995, 4000]), 995), [0, 0, 100, 500, 1e3, 1e3]
    )


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((4, 4, 4)), "99.5th percentile is 0: not an MR image"),
        (np.full((4, 4, 4), -1000.0), "99.5th percentile is -1000"),
        (np.array([[[1, 2, np.nan]]]), "NaN or infinite"),
        (np.array([[[1, 2, np.inf]]]), "NaN or infinite"),
    ],
)
def test_what_is_no_mr_image_is_refused(volume: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        full_scale(volume)
