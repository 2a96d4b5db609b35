from __future__ import annotations

from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_nce.data import read_ct
from monai_nce.data.scans.in_memory import take_scan
from monai_nce.data.scans.reader import read_tensor
from monai_nce.errors import InputError
from tests.data.scans.in_memory_kinds import KINDS, as_kind, oblique, voxel

SIZES = st.tuples(*[st.integers(1, 6)] * 3)
SPACINGS = st.tuples(*[st.floats(0.3, 9)] * 3)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=8)
def test_every_kind_gives_the_same_voxels_at_the_same_places_and_gets_its_own_kind_back(kind: str, data: Any) -> None:
    shape = data.draw(SIZES)
    affine = oblique(data.draw(SPACINGS), data.draw(st.tuples(*[st.floats(-1.5, 1.5)] * 2)))
    dtype = data.draw(st.sampled_from([np.int16, np.int32, np.float32, np.float64]))
    hu = np.random.default_rng(len(kind)).integers(-1000, 1500, shape).astype(dtype)
    image, given_with = as_kind(kind, hu, affine)
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    value, place = voxel(kind, image, index, affine)  # by the library itself
    taken = take_scan(image, **given_with)
    assert taken.volume[index] == value == hu[index]
    np.testing.assert_allclose((taken.volume.affine.numpy() @ [*index, 1])[:3], place, atol=1e-4)
    made = taken.like(taken.volume.numpy() + 0.25, "SYNTHETIC", "SYNTHETIC, and more")
    assert type(made).__name__.rstrip("0123456789SF")[:5] == type(image).__name__[:5]
    got, there = voxel(kind, made, index, affine)
    assert got == value + (0 if dtype in (np.int16, np.int32) else 0.25)
    np.testing.assert_allclose(there, place, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "numpy"])
def test_a_result_says_that_it_is_synthetic_and_is_not_taken_again(kind: str) -> None:
    image, _ = as_kind(kind, np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6), oblique())
    made = take_scan(image).like(np.zeros((4, 5, 6)), "SYNTHETIC CECT")
    with pytest.raises(InputError, match="^image: the image is synthetic already"):
        take_scan(made)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("library", ["simpleitk", "itk"])
def test_nor_is_the_file_that_itk_makes_of_it(library: str, suffix: str, tmp_path: Path) -> None:
    image, _ = as_kind(library, np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6), oblique())
    made = take_scan(image).like(np.zeros((4, 5, 6)), "SYNTHETIC CECT")
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(made, str(path)) if library == "simpleitk" else itk.imwrite(made, str(path))
    with pytest.raises(InputError, match="synthetic already"):
        read_ct(path)


def test_a_region_cut_out_by_itk_lies_where_it_lay() -> None:
    hu = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    image, _ = as_kind("itk", hu, oblique())
    region = itk.ImageRegion[3]()
    region.SetIndex([1, 2, 3])
    region.SetSize([3, 2, 2])
    cut = itk.extract_image_filter(image, extraction_region=region)
    assert list(cut.GetLargestPossibleRegion().GetIndex()) == [1, 2, 3]  # ITK keeps the numbering
    taken = take_scan(cut)
    assert taken.volume[0, 0, 0] == hu[1, 2, 3]
    np.testing.assert_allclose(taken.volume.affine[:3, 3], (oblique() @ [1, 2, 3, 1])[:3], atol=1e-6)
    made = taken.like(taken.volume.numpy())
    np.testing.assert_allclose(
        made.TransformIndexToPhysicalPoint([0, 0, 0]), cut.TransformIndexToPhysicalPoint([1, 2, 3]), atol=1e-9
    )


def test_what_libraries_lay_out_in_their_own_way_is_taken() -> None:
    hu = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)
    for array in (hu[::-1, :, ::2], hu.astype(">i2"), np.asfortranarray(hu), hu.astype(np.float16)):
        np.testing.assert_array_equal(take_scan(array, np.eye(4)).volume, array)
    scaled = nib.Nifti1Image(hu[..., None], np.eye(4))
    scaled.header.set_slope_inter(2, -10)
    loaded = nib.Nifti1Image.from_bytes(scaled.to_bytes())
    taken = take_scan(loaded)
    np.testing.assert_array_equal(taken.volume, loaded.get_fdata()[..., 0])
    assert taken.like(np.zeros((4, 5, 6))).shape == (4, 5, 6, 1)
    tensor = MetaTensor(torch.from_numpy(hu).to(torch.bfloat16).requires_grad_())
    np.testing.assert_array_equal(take_scan(tensor).volume, tensor.detach().float())


def test_what_was_given_is_not_changed() -> None:
    hu = np.array([-3000, -1000, 40, 900] * 300, np.float32).reshape(10, 10, 12)
    before = hu.copy()
    taken = take_scan(hu, np.eye(4)).volume
    assert read_tensor(taken).min() == -1024 and taken.min() == -3000
    np.testing.assert_array_equal(hu, before)


ARRAY = np.arange(-60, 60, dtype=np.int16).reshape(4, 5, 6)


def spoiled(**fields: Any) -> nib.Nifti1Image:
    image = nib.Nifti1Image(ARRAY, np.eye(4))
    for name, value in fields.items():
        image.header[name] = value
    return image


@pytest.mark.parametrize(
    ("image", "affine", "expected"),
    [
        (ARRAY, None, "affine: expected with a NumPy array"),
        (ARRAY, np.eye(3), "affine: expected a 4×4 matrix"),
        (ARRAY, "RAS", "affine: expected a 4×4 matrix"),
        (ARRAY, np.ones((4, 4)), "affine: expected a 4×4 matrix"),
        (ARRAY, np.zeros((4, 4)) + np.diag([0, 0, 0, 1]), "image: its affine is singular"),
        (ARRAY, np.diag([1e-3, 1e-3, 1e-3, 1]), "image: expected voxels of 0.01 to 100 mm"),
        (ARRAY[0], np.eye(4), "image: expected an array of three dimensions"),
        (ARRAY[:0], np.eye(4), "image: expected one three-dimensional volume"),
        (ARRAY > 0, np.eye(4), "image: expected real numbers but got data of type bool"),
        (ARRAY.astype(complex), np.eye(4), "image: expected real numbers"),
        (ARRAY.astype(object), np.eye(4), "image: expected real numbers"),
        (spoiled(), np.eye(4), "affine: expected with a NumPy array alone"),
        (spoiled(sform_code=0), None, "image: has no orientation"),
        (spoiled(xyzt_units=1), None, "image: expected millimetres but the header says meter"),
        (
            spoiled(pixdim=[1, 2, 2, 2, 0, 0, 0, 0]),
            None,
            "image: its sform has voxels of 1 × 1 × 1 mm, its pixel sizes",
        ),
        (MetaTensor(torch.zeros(2, 4, 5, 6)), None, "image: expected .H, W, D. or .1, H, W, D. but got shape"),
        (MetaTensor(torch.zeros(4, 5), affine=torch.eye(3)), None, "image: expected .H, W, D."),
        (sitk.Image([4, 5, 6], sitk.sitkVectorFloat32, 3), None, "got 3 dimensions, 3 values a voxel"),
        (sitk.Image([4, 5], sitk.sitkInt16), None, "image: expected one three-dimensional volume but got 2 dimensions"),
        (itk.image_from_array(np.zeros((4, 5), np.float32)), None, "got 2 dimensions, 1 values a voxel"),
        (torch.zeros(4, 5, 6), None, "image: expected a path, a NumPy array with affine=, .* but got Tensor"),
        ([1, 2], None, "but got list"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(image: Any, affine: Any, expected: str) -> None:
    with pytest.raises(InputError, match=f".*{expected}"):
        take_scan(image, affine)
