from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage
from scipy.ndimage import binary_dilation

from monai_nce.transforms import body_mask

AIR, GAS, LUNG, FAT, TISSUE, BONE, PLASTIC = -1000.0, -900.0, -800.0, -100.0, 50.0, 800.0, 100.0


def scan() -> tuple[np.ndarray, np.ndarray]:
    """A body with gas, lung and bone inside, above a table; and where the body is."""
    x, y = np.mgrid[:48, :40]
    inside = ((x - 22) / 16) ** 2 + ((y - 18) / 13) ** 2 <= 1
    hu = np.full((1, 48, 40, 5), AIR)
    hu[0, inside] = TISSUE
    hu[0, 15:20, 14:20, 1:4] = GAS
    hu[0, 26:30, 12:22] = LUNG
    hu[0, 20:23, 24:27] = BONE
    hu[0, 4:44, 35:37] = PLASTIC  # the table
    mask = np.broadcast_to(inside[None, :, :, None], hu.shape)
    return hu, mask


def test_the_body_with_what_is_inside_it():
    hu, body = scan()
    np.testing.assert_array_equal(body_mask(hu), body)


def test_gas_inside_belongs_to_the_body_and_the_table_does_not():
    hu, _ = scan()
    mask = body_mask(hu)
    assert mask[hu == GAS].all() and mask[hu == LUNG].all() and mask[hu == BONE].all()
    assert not mask[hu == PLASTIC].any()
    assert not mask[hu == AIR].any()


def test_a_thin_sheet_touching_the_skin_stays_outside_but_for_its_contact():
    hu, body = scan()
    hu[0, :, 31] = PLASTIC  # one pixel thick, against the skin at y = 31
    mask = body_mask(hu)
    extra = (mask & ~body)[0]
    assert mask[body].all()
    contact = binary_dilation(body[0, :, 30], iterations=1)
    assert not extra[:, :31].any() and not extra[:, 32:].any() and not extra[:, 31][~contact].any()
    assert contact.sum() < 0.4 * contact.size


def test_a_second_smaller_thing_is_not_the_body():
    hu, body = scan()
    hu[0, 42:47, 2:8, :] = TISSUE
    np.testing.assert_array_equal(body_mask(hu), body)


def test_holes_are_filled_slice_by_slice():
    """Gas that is open to the outside at the volume's last slice is still inside the body."""
    hu, body = scan()
    hu[0, 15:20, 14:20, :] = GAS
    np.testing.assert_array_equal(body_mask(hu), body)


def test_corners_and_bumps_of_one_pixel_belong_to_the_body():
    hu = np.full((1, 24, 20, 2), AIR)
    hu[0, 4:20, 3:14] = TISSUE
    hu[0, 20, 8] = TISSUE
    np.testing.assert_array_equal(body_mask(hu), hu == TISSUE)


@pytest.mark.parametrize("depth", [1, 2])
def test_few_slices(depth):
    hu, body = scan()
    np.testing.assert_array_equal(body_mask(hu[..., :depth]), body[..., :depth])


@pytest.mark.parametrize("convert", [torch.tensor, MetaTensor, lambda a: torch.tensor(a).short(), np.float32])
def test_other_arrays(convert):
    hu, body = scan()
    mask = body_mask(convert(hu))
    assert isinstance(mask, np.ndarray) and mask.dtype == bool
    np.testing.assert_array_equal(mask, body)


def test_the_threshold():
    hu, body = scan()
    hu[hu == AIR] = -250.0
    assert body_mask(hu)[~body].any()
    np.testing.assert_array_equal(body_mask(hu, threshold=-200.0), body)


def test_nothing_but_air():
    mask = body_mask(np.full((1, 6, 5, 4), AIR))
    assert mask.shape == (1, 6, 5, 4)
    assert not mask.any()


def test_nothing_but_body():
    assert body_mask(np.full((1, 16, 16, 2), FAT))[:, 1:-1, 1:-1].all()


def test_the_scan_is_left_as_it_was():
    hu, _ = scan()
    before = hu.copy()
    body_mask(hu)
    np.testing.assert_array_equal(hu, before)


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 4, 4, 4), (1, 1, 4, 4, 4)])
def test_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"\(1, H, W, D\) but got \(" + ", ".join(map(str, shape))):
        body_mask(np.zeros(shape))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_along_another_axis(axis):
    hu, body = scan()
    hu[0, 15:20, 14:20, :] = GAS  # open at the first and last slice, closed in each
    turned = np.moveaxis(hu, 3, 1 + axis)
    np.testing.assert_array_equal(body_mask(turned, slice_axis=axis), np.moveaxis(body, 3, 1 + axis))


def by_ndimage(hu: np.ndarray, slice_axis: int) -> np.ndarray | None:
    """The definition step by step, in SciPy's words; None where two things are of one size."""
    dense = np.moveaxis(hu[0] > -300, slice_axis, 2)
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
    core, count = ndimage.label(ndimage.binary_opening(dense, cross))
    sizes = np.bincount(core.ravel(), minlength=2)[1:]
    if np.count_nonzero(sizes == sizes.max()) > 1:
        return None
    body = ndimage.binary_dilation(core == sizes.argmax() + 1, cross) & dense if count else np.zeros_like(dense)
    filled = [ndimage.binary_fill_holes(body[:, :, z]) for z in range(body.shape[2])]
    return np.moveaxis(np.stack(filled, axis=2), 2, slice_axis)[None]


@pytest.mark.parametrize("longest", [15, 140])
@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_random_volumes_against_scipy(axis, fortran, longest):
    """Lines of one word and of several."""
    rng = np.random.default_rng(axis)
    compared = 0
    for _ in range(60):
        shape = rng.permutation([*rng.integers(1, 16, 2), rng.integers(1, longest + 1)])
        hu = np.where(rng.random((1, *shape)) < rng.uniform(0.5, 0.95), TISSUE, AIR)
        expected = by_ndimage(hu, axis)
        if expected is not None:
            mask = body_mask(np.asfortranarray(hu) if fortran else hu, slice_axis=axis)
            np.testing.assert_array_equal(mask, expected)
            compared += mask.any()
    assert compared > 20
