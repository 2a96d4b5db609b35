from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from monai_nce.transforms import WindowHU, WindowHUd

AIR, FAT, KIDNEY, BONE = -1000.0, -100.0, 125.0, 700.0
HU = [AIR, FAT, 50.0, KIDNEY, 200.0, BONE]
INTENSITY = [-1.0, -1.0, 0.0, 0.5, 1.0, 1.0]
AFFINE = torch.tensor([[-0.7, 0, 0, 10], [0, 0.8, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1]], dtype=torch.float64)


def test_values_by_hand():
    assert WindowHU()(torch.tensor(HU)).tolist() == INTENSITY


@pytest.mark.parametrize(
    ("level", "width", "hu", "intensity"), [(40, 400, 140, 0.5), (0, 2, -0.5, -0.5), (300, 1500, -450, -1)]
)
def test_other_windows_by_hand(level, width, hu, intensity):
    assert WindowHU(level, width)(torch.tensor([float(hu)])).tolist() == [intensity]


def test_the_inverse_gives_back_what_lay_inside_and_the_edge_for_the_rest():
    window = WindowHU()
    assert window.inverse(window(torch.tensor(HU))).tolist() == [-100.0, -100.0, 50.0, 125.0, 200.0, 200.0]


def test_every_whole_hu_of_the_window_comes_back():
    hu = torch.arange(-100.0, 201.0)
    window = WindowHU()
    back = window.inverse(window(hu))
    assert torch.equal(back.round(), hu)
    torch.testing.assert_close(back, hu, atol=2e-5, rtol=0)


def test_the_inverse_goes_on_beyond_the_window():
    assert WindowHU().inverse(torch.tensor([-2.0, 1.5])).tolist() == [-250.0, 275.0]


@settings(deadline=None)
@given(st.floats(-1000, 1000), st.floats(1, 4000), st.lists(st.floats(-3000, 3000, width=32), min_size=1))
def test_round_trip(level, width, values):
    window = WindowHU(level, width)
    hu = torch.tensor(values)
    intensity = window(hu)
    assert intensity.abs().max() <= 1
    back = window.inverse(intensity)
    expected = np.clip(np.array(values), level - width / 2, level + width / 2)
    np.testing.assert_allclose(back, expected, atol=2e-3)
    assert (intensity[hu.argsort()].diff() >= 0).all()


@pytest.mark.parametrize("dtype", [np.int16, np.float64, torch.int16, torch.float16, torch.float32])
def test_any_number_type_becomes_float32(dtype):
    hu = np.array(HU, dtype) if isinstance(dtype, type) else torch.tensor(HU, dtype=dtype)
    intensity = WindowHU()(hu)
    assert intensity.dtype == torch.float32
    assert intensity.tolist() == INTENSITY


def test_the_scan_is_left_as_it_was():
    hu = torch.tensor(HU)
    WindowHU()(hu)
    assert hu.tolist() == HU


def test_a_metatensor_keeps_its_geometry():
    hu = MetaTensor(torch.tensor(HU).reshape(1, 2, 3, 1), affine=AFFINE)
    window = WindowHU()
    intensity = window(hu)
    assert isinstance(intensity, MetaTensor)
    assert torch.equal(intensity.affine, AFFINE)
    assert intensity.flatten().tolist() == INTENSITY
    back = window.inverse(intensity)
    assert isinstance(back, MetaTensor)
    assert torch.equal(back.affine, AFFINE)
    assert not back.applied_operations


def test_a_plain_tensor_stays_one():
    assert type(WindowHU()(torch.tensor(HU))) is torch.Tensor


def test_invertd_brings_a_prediction_back_to_hu():
    transform = Compose([WindowHUd("image")])
    data = transform({"image": MetaTensor(torch.full((1, 2, 2, 2), 50.0), affine=AFFINE), "other": 1})
    data["pred"] = MetaTensor(torch.full((1, 2, 2, 2), 0.5))
    data = Invertd("pred", transform, orig_keys="image")(data)
    assert (data["pred"] == 125).all()
    assert (data["image"] == 0).all()
    assert data["other"] == 1
    torch.testing.assert_close(data["pred"].affine, AFFINE)


def test_the_dictionary_version_takes_the_keys_it_is_given():
    data = {"image": torch.tensor(HU), "other": torch.tensor(HU)}
    windowed = WindowHUd(["image", "absent"], 40, 400, allow_missing_keys=True)(data)
    assert windowed["image"].tolist() == pytest.approx([-1, -0.7, 0.05, 0.425, 0.8, 1])
    assert windowed["other"].tolist() == HU
    assert data["image"].tolist() == HU
    with pytest.raises(KeyError, match="absent"):
        WindowHUd(["image", "absent"])(data)


@pytest.mark.parametrize("width", [0, -300, float("nan")])
@pytest.mark.parametrize("transform", [WindowHU, lambda **kwargs: WindowHUd("image", **kwargs)])
def test_a_width_that_is_not_positive(width, transform):
    with pytest.raises(ValueError, match=f"window_width in HU but got {width}"):
        transform(window_width=width)
