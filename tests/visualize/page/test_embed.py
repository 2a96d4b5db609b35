from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.affines import apply_affine

from monai_nce.visualize.page.embed import average_in_plane, pack_cases, unpack
from tests.visualize.page.pages import LPS, scan_and_synthetic, whole_numbers


@settings(max_examples=25)
@given(whole_numbers())
def test_what_is_packed_comes_back(volume: np.ndarray) -> None:
    (packed,) = pack_cases([({"scan": volume}, LPS)], 10**6)
    assert (packed.shape, packed.factor) == (volume.shape, 1)
    image = unpack(packed.volumes["scan"])
    assert image.header["vox_offset"] in (0, 352) and image.get_data_dtype() == np.dtype("<i2")
    np.testing.assert_array_equal(np.asarray(image.dataobj), volume)
    np.testing.assert_allclose(image.affine, LPS, atol=1e-6)


def test_other_numbers_have_a_slope() -> None:
    volume = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    (packed,) = pack_cases([({"confidence": volume}, LPS)], 10**6)
    np.testing.assert_allclose(unpack(packed.volumes["confidence"]).get_fdata(), volume, atol=1e-4)


def test_two_by_two_pixels_become_their_mean() -> None:
    volume = np.zeros((3, 2, 2), np.int16)
    volume[:, :, 0] = [[0, 2], [4, 7], [10, 30]]
    mean, affine = average_in_plane(volume, LPS, 2)
    # (0 + 2 + 4 + 7) / 4 = 3.25; the last column stands for the one that is missing
    np.testing.assert_array_equal(mean[:, :, 0], [[3], [20]])
    assert mean.dtype == np.int16 and mean.shape == (2, 1, 2)
    # the new voxel lies between the four
    np.testing.assert_allclose(apply_affine(affine, [0, 0, 1]), apply_affine(LPS, [0.5, 0.5, 1]))
    np.testing.assert_allclose(apply_affine(affine, [1, 0, 1]), apply_affine(LPS, [2.5, 0.5, 1]))


@settings(max_examples=25)
@given(whole_numbers(-1000, 3000), st.permutations([0, 1, 2]), st.integers(2, 4))
def test_the_axis_of_thick_slices_stays_whole(volume: np.ndarray, order: list[int], factor: int) -> None:
    affine = LPS[:, [*order, 3]]
    across = order.index(2)
    mean, moved = average_in_plane(volume, affine, factor)
    expected = [size if axis == across else -(-size // factor) for axis, size in enumerate(volume.shape)]
    assert list(mean.shape) == expected
    assert volume.min() <= mean.min() and mean.max() <= volume.max()
    np.testing.assert_allclose(moved[:3, across], affine[:3, across])


def test_volumes_are_reduced_until_they_fit() -> None:
    cases = [({"scan": volume}, LPS) for volume in scan_and_synthetic((160, 150, 6))]
    whole = sum(len(one.volumes["scan"]) for one in pack_cases(cases, 10**9))
    for limit, factor, shape in ((whole, 1, (160, 150, 6)), (whole - 1, 2, (80, 75, 6)), (0, 3, (54, 50, 6))):
        packed = pack_cases(cases, limit)
        assert [(one.factor, one.shape) for one in packed] == [(factor, shape)] * 2
