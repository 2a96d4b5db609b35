from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from monai_nce.transforms import CarryHU, CarryHUd, InPlaneSpacingd, WindowHUd

AIR, GAS, TISSUE, BONE, TABLE = -1000.0, -950.0, 60.0, 700.0, 100.0
AFFINE = torch.diag(torch.tensor([0.7, 0.8, 5.0, 1.0], dtype=torch.float64))


def scan() -> torch.Tensor:
    """A block of tissue with gas and bone in it, and a table apart from it."""
    hu = torch.full((1, 24, 20, 3), AIR)
    hu[:, 4:20, 3:14] = TISSUE
    hu[:, 8:11, 7:10] = GAS
    hu[:, 13:16, 7:10] = BONE
    hu[:, 2:22, 17:19] = TABLE
    return hu


def windowed(hu: torch.Tensor) -> torch.Tensor:
    return hu.clamp(-100, 200)


def value(hu: torch.Tensor, what: float, of: torch.Tensor) -> float:
    """The one value that ``hu`` has wherever ``of`` is ``what``."""
    (found,) = hu[of == what].unique().tolist()
    return found


def test_values_by_hand():
    hu = scan()
    pred = windowed(hu)
    pred[hu == TISSUE] = 130.0
    pred[hu == BONE] = 180.0
    out = CarryHU()(pred, windowed(hu), hu)
    assert value(out, TISSUE, hu) == 130  # 60 + (130 - 60)
    assert value(out, BONE, hu) == 680  # 700 + (180 - 200)
    assert value(out, GAS, hu) == -950  # -950 + (-100 - -100)


def test_bone_and_gas_survive_a_network_that_changes_nothing():
    hu = scan()
    assert torch.equal(CarryHU()(windowed(hu), windowed(hu), hu), hu)


def test_clamp_takes_the_prediction_as_it_is():
    hu = scan()
    pred = windowed(hu) + 7
    out = CarryHU("clamp")(pred, windowed(hu), hu)
    assert value(out, TISSUE, hu) == 67
    assert value(out, BONE, hu) == 207
    assert value(out, GAS, hu) == -93


@pytest.mark.parametrize("mode", ["carry", "clamp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.float64])
def test_outside_the_body_nothing_changes(mode, dtype):
    """Bit for bit: the air, where a scanner's noise must stay, and the table."""
    hu = scan()
    noise = torch.randint(-20, 21, hu.shape, generator=torch.Generator().manual_seed(0))
    hu = (hu + noise).to(dtype)
    if dtype != torch.int16:
        hu += 0.1
    outside = torch.ones(hu.shape, dtype=torch.bool)
    outside[:, 4:20, 3:14] = False
    pred = torch.full(hu.shape, 150.0)
    out = CarryHU(mode)(pred, windowed(hu).float(), hu)
    assert torch.equal(out[outside].to(dtype), hu[outside])
    assert not torch.equal(out[~outside].to(dtype), hu[~outside])


def test_the_inputs_are_left_as_they_were():
    hu = scan()
    given = windowed(hu) + 10, windowed(hu), hu
    before = [image.clone() for image in given]
    CarryHU()(*given)
    assert all(torch.equal(*pair) for pair in zip(given, before, strict=True))


@pytest.mark.parametrize("mode", ["add", "Carry", "", None])
def test_an_unknown_mode(mode):
    with pytest.raises(ValueError, match="'carry', 'clamp'"):
        CarryHU(mode)
    with pytest.raises(ValueError, match="mode"):
        CarryHUd("pred", "image", "hu", mode)


@pytest.mark.parametrize("odd", [0, 1, 2])
def test_shapes_that_differ(odd):
    given = [torch.zeros(1, 4, 4, 3)] * 3
    given[odd] = torch.zeros(1, 4, 4, 1)
    with pytest.raises(ValueError, match=r"\(1, 4, 4, 1\)"):
        CarryHU()(*given)


@pytest.mark.parametrize("mode", ["carry", "clamp"])
def test_dictionary_version(mode):
    hu = scan()
    data = {"pred": windowed(hu) + 5, "image": windowed(hu), "hu": hu, "second": windowed(hu) - 5}
    out = CarryHUd(["pred", "second", "absent"], "image", "hu", mode, allow_missing_keys=True)(data)
    for key in ("pred", "second"):
        assert torch.equal(out[key], CarryHU(mode)(data[key], data["image"], hu))
    assert out["image"] is data["image"] and out["hu"] is hu


def test_a_metatensor_keeps_its_geometry():
    hu = MetaTensor(scan(), affine=AFFINE)
    out = CarryHU()(windowed(hu) + 5, windowed(hu), hu)
    assert isinstance(out, MetaTensor)
    assert torch.equal(out.affine, AFFINE)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)])
@pytest.mark.parametrize("flip", [1, -1])
def test_a_scan_with_its_axes_in_any_order(order, flip):
    """Slices are told from the affine: gas that is open at the ends of the scan is still inside the body."""
    tilted = AFFINE.clone()
    tilted[1, 2] = 1.0
    tilted[:3, 2] *= flip
    hu = scan()
    expected = CarryHU()(windowed(hu) + 5, windowed(hu), hu)
    assert value(expected, GAS, hu) == GAS + 5
    turned = MetaTensor(hu.permute(0, *(1 + i for i in order)), affine=tilted[:, [*order, 3]])
    out = CarryHU()(windowed(turned) + 5, windowed(turned), turned)
    assert torch.equal(out.as_tensor(), expected.permute(0, *(1 + i for i in order)))


def test_from_the_networks_grid_back_to_the_scan():
    """A network that does nothing gives the scan back bit for bit, resampling and window notwithstanding."""
    transform = Compose([InPlaneSpacingd("image", 1.3), WindowHUd("image")])
    hu = MetaTensor(scan(), affine=AFFINE)
    data = transform({"image": hu.clone(), "hu": hu})
    assert data["image"].shape != hu.shape
    data["pred"] = data["image"].clone()
    data["given"] = data["image"].clone()
    data = Invertd(["pred", "given"], transform, orig_keys="image", nearest_interp=False)(data)
    out = CarryHUd("pred", "given", "hu")(data)["pred"]
    assert torch.equal(out.as_tensor(), hu.as_tensor())
    torch.testing.assert_close(out.affine, AFFINE)
