"""What rose is measured where it rose, and judged by the literature's mean of the phase."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.rise import checks, largest_rise, measure_rise, moved_rise, variation_along_z
from monai_nce.virtual import expected_enhancement

SHAPE, AFFINE = (40, 40, 8), np.diag([2.0, 2.0, 5.0, 1.0])  # 20 mm³ a voxel


def box(x: slice, y: slice, z: slice = slice(None)) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[x, y, z] = True
    return mask


REGIONS = {
    "liver": box(slice(0, 10), slice(0, 10)),
    "spleen": box(slice(0, 10), slice(12, 20)),
    "kidney_right": box(slice(12, 20), slice(0, 8)),
    "kidney_left": box(slice(12, 20), slice(10, 18)),
    "aorta": box(slice(22, 26), slice(0, 4)),
    "muscle": box(slice(22, 40), slice(10, 40)),
    "fat": box(slice(0, 20), slice(22, 30)),
    "bone": box(slice(0, 20), slice(32, 40)),
}


@pytest.fixture
def hu() -> np.ndarray:
    return np.full(SHAPE, 40.0, dtype=np.float32)


@pytest.fixture
def good(hu: np.ndarray) -> np.ndarray:
    """Each organ rises by the literature's mean, nothing else does."""
    synthetic = hu.copy()
    for name in ("liver", "spleen", "aorta"):
        synthetic[REGIONS[name]] += expected_enhancement(name, "portal")[0]
    for side in ("right", "left"):
        synthetic[REGIONS[f"kidney_{side}"]] += expected_enhancement("kidney", "portal")[0]
    return synthetic


def failed(hu: np.ndarray, synthetic: np.ndarray) -> set[str]:
    return {check.what for check in checks(measure_rise(hu, synthetic, AFFINE, REGIONS, "portal")) if not check.passed}


def test_identity_is_measured_as_no_rise(hu):
    measured = measure_rise(hu, hu, AFFINE, REGIONS, "portal")
    assert {row["rise"] for row in measured["regions"].values()} == {0}
    assert measured["kidney_ratio"] is None and measured["largest"]["muscle"]["cm3"] == 0
    assert measured["regions"]["liver"]["cm3"] == pytest.approx(800 * 0.02)
    organs = {"liver: rise", "spleen: rise", "kidney_right: rise", "kidney_left: rise", "aorta: rise"}
    assert failed(hu, hu) == {*organs, "rise of the right kidney to the left"}


def test_what_the_literature_says_passes(hu, good):
    assert not failed(hu, good)


@pytest.mark.parametrize(
    ("region", "change", "expected"),
    [
        ("liver", -26, {"liver: rise"}),
        ("liver", 24, set()),
        ("kidney_left", -80, {"kidney_left: rise", "rise of the right kidney to the left"}),
        ("muscle", 21, {"muscle: rise"}),
        ("fat", -6, {"fat: rise"}),
        ("bone", 6, {"bone: rise"}),
    ],
)
def test_each_fault_is_named(hu, good, region, change, expected):
    good[REGIONS[region]] += change
    assert failed(hu, good) == expected


def test_a_bright_place_in_muscle_is_found_though_the_mean_is_low(hu, good):
    good[30:36, 20:26, 3:6] += 60  # 108 voxels of 20 mm³, in the middle of 4320
    measured = measure_rise(hu, good, AFFINE, REGIONS, "portal")
    assert measured["regions"]["muscle"]["rise"] < 5
    piece = measured["largest"]["muscle"]
    assert piece == {"cm3": pytest.approx(2.16), "at": [65, 45, 20], "rise": pytest.approx(60)}
    assert failed(hu, good) == {"muscle: largest piece above +40 HU"}


def test_pieces_apart_are_not_added(hu):
    rise = np.zeros(SHAPE)
    rise[::2, ::2] = 50
    assert largest_rise(rise, np.ones(SHAPE, dtype=bool), AFFINE)["cm3"] == pytest.approx(0.02 * 8)


def test_variation_is_that_of_the_slices_means(hu, good):
    aorta = REGIONS["aorta"]
    good[..., ::2] += np.where(aorta, 80, 0)[..., ::2]
    means = [good[..., k][aorta[..., k]].mean() for k in range(8)]
    assert variation_along_z(good, aorta) == pytest.approx(np.std(means) / np.mean(means))
    assert "aorta: variation along z" in failed(hu, good)
    assert variation_along_z(good, box(slice(0, 4), slice(0, 4), slice(0, 2))) is None


def test_a_single_slice_is_not_judged_along_z(hu, good):
    one = {name: mask[..., :1] for name, mask in REGIONS.items()}
    measured = measure_rise(hu[..., :1], good[..., :1], AFFINE, one, "portal")
    assert not [check.what for check in checks(measured) if "along z" in check.what or not check.passed]


def test_moved_scans_are_compared_where_both_show_the_organ(good, hu):
    rise = good - hu
    moved = rise + np.where(REGIONS["spleen"], -16, 0)
    moved[:, :, 6:] = np.nan
    moved[REGIONS["aorta"]] = np.nan
    found = {check["organ"]: check for check in moved_rise("mirrored", rise, moved, REGIONS, 15.0)}
    assert set(found) == {"liver", "spleen", "kidney_right", "kidney_left"}
    assert found["spleen"]["value"] == pytest.approx(-16) and not found["spleen"]["passed"]
    assert found["liver"]["value"] == pytest.approx(0) and found["liver"]["passed"]
