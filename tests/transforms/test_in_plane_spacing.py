from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd

from monai_nce.transforms import InPlaneSpacingd

PAPER_MM = 1 / 0.75


def affine_of(x_mm: float, y_mm: float, z_mm: float, origin: tuple[float, ...] = (-30.0, 12.0, 100.0)) -> np.ndarray:
    affine = np.diag([x_mm, y_mm, z_mm, 1.0])
    affine[:3, 3] = origin
    return affine


def tilted(x_mm: float, y_mm: float, z_mm: float) -> np.ndarray:
    """Gantry tilt: each slice is shifted along y against the one before."""
    affine = affine_of(x_mm, y_mm, z_mm)
    affine[1, 2] = 1.3
    return affine


def turned() -> np.ndarray:
    """Slices that are neither along the patient's axes nor counted in their direction."""
    a, b = np.deg2rad(12), np.deg2rad(-7)
    around_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    around_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = around_z @ around_x @ np.diag([-0.7, 0.7, 4.0])[:, [1, 0, 2]]
    affine[:3, 3] = 20, -10, 5
    return affine


def image(affine: np.ndarray, shape: tuple[int, ...] = (1, 40, 30, 4), seed: int = 0) -> MetaTensor:
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 300 - 100
    return MetaTensor(values, affine=torch.tensor(affine))


def smooth_image() -> np.ndarray:
    """A hill of height 100 off the centre, on a floor that rises from slice to slice."""
    x, y, z = np.meshgrid(np.arange(40), np.arange(30), np.arange(4), indexing="ij")
    return (100 * np.exp(-(((x - 22) / 9) ** 2) - ((y - 13) / 8) ** 2) + 10 * z).astype(np.float32)[None]


def world(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Coordinates in mm of each voxel's centre, ``(3, H, W, D)``."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    return np.einsum("ij,jhwd->ihwd", affine[:3, :3], index) + affine[:3, 3, None, None, None]


def corners(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Outer in-plane corners of the first and last slice, in mm."""
    h, w, d = shape
    index = [(x, y, z, 1) for x in (-0.5, h - 0.5) for y in (-0.5, w - 0.5) for z in (0, d - 1)]
    return np.array(index) @ affine.T


@pytest.mark.parametrize(
    ("mm", "spacing", "size"),
    [
        ((0.8, 0.8), PAPER_MM, (24, 18)),  # 40 and 30 pixels of 0.8 mm are 32 and 24 mm
        ((0.5, 1.0), 1.0, (20, 30)),
        ((2.0, 2.0), 1.0, (80, 60)),
        ((0.5, 2.0), 1.0, (20, 60)),
        ((0.7, 0.9), PAPER_MM, (21, 20)),
    ],
)
@pytest.mark.parametrize("kind", [affine_of, tilted])
def test_size_and_corners(mm, spacing, size, kind):
    affine = kind(*mm, 5.0)
    out = InPlaneSpacingd("image", spacing)({"image": image(affine)})["image"]
    assert out.shape == (1, *size, 4)
    np.testing.assert_allclose(corners(out.affine.numpy(), (*size, 4)), corners(affine, (40, 30, 4)), atol=1e-4)
    # whole pixels only: the spacing is met as nearly as the size allows
    got_mm = np.linalg.norm(out.affine[:3, :2].numpy(), axis=0)
    np.testing.assert_allclose(got_mm, np.array(mm) * [40, 30] / np.array(size), rtol=1e-6)
    np.testing.assert_allclose(got_mm, spacing, rtol=0.03)


def test_a_sheared_affine_keeps_its_shear():
    affine = tilted(0.8, 0.8, 5.0)
    out = InPlaneSpacingd("image", PAPER_MM)({"image": image(affine)})["image"].affine.numpy()
    np.testing.assert_allclose(out[:3, 2], affine[:3, 2], atol=1e-9)
    np.testing.assert_allclose(out[:3, :2] / PAPER_MM, affine[:3, :2] / 0.8, atol=1e-6)


@pytest.mark.parametrize("spacing", [PAPER_MM, 0.5, 1.0])
def test_slices_are_never_mixed(spacing):
    """A changed slice changes itself alone, bit for bit, on the way there and on the way back."""
    transform = InPlaneSpacingd("image", spacing)
    one, other = image(affine_of(0.8, 0.8, 5.0)), image(affine_of(0.8, 0.8, 5.0))
    other[..., 2] = 1e4
    there = [transform({"image": i}) for i in (one, other)]
    back = [transform.inverse(dict(d)) for d in there]
    for a, b in (there, back):
        same = [torch.equal(a["image"][..., z], b["image"][..., z]) for z in range(4)]
        assert same == [True, True, False, True]


@pytest.mark.parametrize("spacing", [PAPER_MM, 0.5])
def test_a_constant_slice_stays_constant(spacing):
    hu = torch.tensor([-1000.0, -100.0, 50.0, 700.0])
    scan = MetaTensor(hu.expand(1, 40, 30, 4).clone(), affine=torch.tensor(affine_of(0.8, 0.8, 5.0)))
    transform = InPlaneSpacingd("image", spacing)
    there = transform({"image": scan})
    # 1e-3 HU: the weights of linear interpolation add up to 1 but for rounding
    torch.testing.assert_close(there["image"].as_tensor(), hu.expand(there["image"].shape), atol=1e-3, rtol=0)
    back = transform.inverse(there)["image"]
    torch.testing.assert_close(back.as_tensor(), hu.expand(1, 40, 30, 4), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mm", [(0.25, 0.2), (0.45, 0.61), (0.3, 1.7), (2.1, 3.0)])
def test_the_values_are_those_of_pytorchs_antialiased_interpolation(mm):
    """Each axis by its own ratio, also where one is reduced and the other enlarged."""
    scan = image(affine_of(*mm, 5.0))
    out = InPlaneSpacingd("image", 1.0)({"image": scan})["image"]
    slices = scan.as_tensor().permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(slices, size=out.shape[1:3], mode="bilinear", antialias=True)
    torch.testing.assert_close(out.as_tensor(), expected.permute(0, 2, 3, 1), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", [affine_of, tilted])
@pytest.mark.parametrize(("mm", "spacing", "atol"), [(0.5, 1.0, 1e-3), (2.0, 1.0, 1e-3), (0.8, PAPER_MM, 0.1)])
def test_the_content_stays_where_it_is_in_the_patient(kind, mm, spacing, atol):
    """An image whose values are its coordinates in mm still tells them, by the new affine."""
    affine = kind(mm, mm, 5.0)
    scan = MetaTensor(torch.tensor(world(affine, (40, 30, 4))).float(), affine=torch.tensor(affine))
    out = InPlaneSpacingd("image", spacing)({"image": scan})["image"]
    inner = np.s_[:, 1:-1, 1:-1]
    expected = world(out.affine.numpy(), tuple(out.shape[1:]))
    np.testing.assert_allclose(out.numpy()[inner], expected[inner], atol=atol)


@pytest.mark.parametrize("spacing", [PAPER_MM, 0.5, 0.8, None])
@pytest.mark.parametrize("affine", [affine_of(0.8, 0.8, 5.0), tilted(0.81, 0.79, 3.0), turned()])
def test_the_inverse_gives_back_shape_and_affine(spacing, affine):
    transform = InPlaneSpacingd("image", spacing)
    back = transform.inverse(transform({"image": image(affine)}))["image"]
    assert back.shape == (1, 40, 30, 4)
    np.testing.assert_allclose(back.affine, affine, atol=1e-6)
    assert not back.applied_operations


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(2, 40), st.floats(0.3, 2.0), st.floats(0.3, 2.0), st.floats(0.4, 3.0))
def test_the_inverse_for_any_geometry(h, w, x_mm, y_mm, spacing):
    affine = affine_of(x_mm, y_mm, 3.0)
    transform = InPlaneSpacingd("image", spacing)
    there = transform({"image": image(affine, (1, h, w, 2))})
    size = tuple(there["image"].shape[1:])
    assert size[2] == 2
    np.testing.assert_allclose(corners(there["image"].affine.numpy(), size), corners(affine, (h, w, 2)), atol=1e-3)
    back = transform.inverse(there)["image"]
    assert back.shape == (1, h, w, 2)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)


def test_the_inverse_brings_a_smooth_image_back():
    affine = affine_of(0.8, 0.8, 5.0)
    transform = InPlaneSpacingd("image", PAPER_MM)
    scan = MetaTensor(torch.tensor(smooth_image()), affine=torch.tensor(affine))
    back = transform.inverse(transform({"image": scan}))["image"]
    np.testing.assert_allclose(back[0, 3:-3, 3:-3], scan[0, 3:-3, 3:-3], atol=4)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR"])
@pytest.mark.parametrize("affine", [turned(), tilted(0.8, 0.8, 5.0), affine_of(-0.8, 0.8, 5.0)[:, [1, 0, 2, 3]]])
def test_behind_a_change_of_orientation(axes, affine):
    """Turned, flipped and oblique scans come to the network upright and go back as they were."""
    transform = Compose([Orientationd("image", axcodes=axes, labels=None), InPlaneSpacingd("image", PAPER_MM)])
    scan = MetaTensor(torch.tensor(smooth_image()), affine=torch.tensor(affine))
    there = transform({"image": scan.clone()})
    mm = np.linalg.norm(there["image"].affine[:3, :2].numpy(), axis=0)
    if axes != "SAR":
        np.testing.assert_allclose(mm, PAPER_MM, rtol=0.03)
        assert there["image"].shape[3] == 4
    back = transform.inverse(there)["image"]
    assert back.shape == scan.shape
    np.testing.assert_allclose(back.affine, affine, atol=1e-6)
    if axes != "SAR":  # the same place, not only the same grid
        np.testing.assert_allclose(back[0, 3:-3, 3:-3], scan[0, 3:-3, 3:-3], atol=4)


@pytest.mark.parametrize(("mm", "left"), [(1.0, True), (1.015, True), (0.985, True), (1.03, False), (0.97, False)])
def test_a_spacing_within_the_tolerance_is_left_alone(mm, left):
    scan = image(affine_of(mm, mm, 5.0), (1, 100, 100, 2))
    out = InPlaneSpacingd("image", 1.0)({"image": scan.clone()})["image"]
    assert (out.shape == scan.shape) == left
    if left:
        assert torch.equal(out.as_tensor(), scan.as_tensor())
        assert torch.equal(out.affine, scan.affine)


def test_the_tolerance_given():
    scan = image(affine_of(1.1, 1.1, 5.0))
    assert InPlaneSpacingd("image", 1.0, tolerance=0.15)({"image": scan})["image"].shape == scan.shape
    assert InPlaneSpacingd("image", 1.0, tolerance=0.05)({"image": scan})["image"].shape != scan.shape


def test_no_spacing_leaves_the_grid_alone():
    scan = image(affine_of(0.8, 0.8, 5.0))
    out = InPlaneSpacingd("image", None)({"image": scan.clone()})["image"]
    assert torch.equal(out.as_tensor(), scan.as_tensor())
    assert torch.equal(out.affine, scan.affine)


def test_a_prediction_goes_back_to_the_scans_grid():
    transform = Compose([InPlaneSpacingd("image", PAPER_MM)])
    affine = tilted(0.8, 0.8, 5.0)
    data = transform({"image": image(affine)})
    data["pred"] = data["image"] + 1
    out = Invertd("pred", transform, orig_keys="image")(data)
    assert out["pred"].shape == (1, 40, 30, 4)
    np.testing.assert_allclose(out["pred"].affine, affine, atol=1e-6)
    expected = transform.inverse({"image": data["image"]})["image"] + 1
    torch.testing.assert_close(out["pred"].as_tensor(), expected.as_tensor(), atol=1e-3, rtol=0)


def test_whole_numbers_become_float32_and_the_scan_is_left_as_it_was():
    scan = image(affine_of(0.8, 0.8, 5.0)).short()
    before = scan.clone()
    out = InPlaneSpacingd("image", PAPER_MM)({"image": scan})["image"]
    assert out.dtype == torch.float32
    assert torch.equal(scan.as_tensor(), before.as_tensor()) and scan.shape == (1, 40, 30, 4)


def test_missing_keys():
    data = {"image": image(affine_of(0.8, 0.8, 5.0))}
    assert set(InPlaneSpacingd(["image", "absent"], 1.0, allow_missing_keys=True)(data)) == {"image"}
    with pytest.raises(KeyError, match="absent"):
        InPlaneSpacingd(["image", "absent"], 1.0)(data)


@pytest.mark.parametrize("spacing", [0, -1.0, float("nan")])
def test_a_spacing_that_is_not_positive(spacing):
    with pytest.raises(ValueError, match=f"positive spacing in mm but got {spacing}"):
        InPlaneSpacingd("image", spacing)
