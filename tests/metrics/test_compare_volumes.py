from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.metrics import METRICS
from monai_nce.metrics.compare_volumes import WITHIN, compare_volumes

SHAPE = (16, 18, 3)
REAL = np.random.default_rng(0).uniform(-300, 300, SHAPE)  # within and beyond the window of -100 to 200 HU
MASK = np.random.default_rng(1).random(SHAPE) < 0.3


def test_by_hand() -> None:
    made = REAL + np.random.default_rng(2).normal(0, 30, SHAPE)
    found = compare_volumes(made, REAL, MASK, scan=REAL - 40)
    assert list(found) == ["synthetic", "identity"]
    for name, volume in (("synthetic", made), ("identity", REAL - 40)):
        one, other = (np.clip((hu - 50) / 150, -1, 1) for hu in (volume, REAL))
        mse = np.square(one - other).mean(axis=(0, 1))
        slices, within = found[name]["slices"], found[name]["within"]
        assert set(slices) == set(METRICS) and tuple(within) == WITHIN
        assert slices["mse"] == pytest.approx(mse.mean(), rel=1e-5)
        assert slices["mae_hu"] == pytest.approx(150 * np.abs(one - other).mean(), rel=1e-5)
        assert slices["psnr"] == pytest.approx((10 * np.log10(4 / mse)).mean(), rel=1e-5)
        assert within["mse"] == pytest.approx(np.square(one - other)[MASK].mean(), rel=1e-5)
        assert within["mae_hu"] == pytest.approx(150 * np.abs(one - other)[MASK].mean(), rel=1e-5)
        assert within["psnr"] == pytest.approx(10 * np.log10(4 / within["mse"]), rel=1e-5)
    assert "identity" not in compare_volumes(made, REAL, MASK)


@given(st.floats(-80, 80), st.floats(200, 800))
@settings(max_examples=10)
def test_a_shift_within_the_window_is_its_own_error(shift: float, width: float) -> None:
    real = np.clip(REAL / 300 * (width / 2 - 81), None, None) + 40
    found = compare_volumes(real + shift, real, MASK, window_level=40, window_width=width)["synthetic"]
    for part in ("slices", "within"):
        assert found[part]["mae_hu"] == pytest.approx(abs(shift), abs=1e-3)
        assert found[part]["mse"] == pytest.approx((2 * shift / width) ** 2, abs=1e-5)


def test_the_same_volume_twice() -> None:
    found = compare_volumes(REAL, REAL, MASK)["synthetic"]
    assert found["within"] == {"mse": 0, "mae_hu": 0, "psnr": 100}
    assert found["slices"]["ms_ssim"] == pytest.approx(1) and found["slices"]["mse_hu2"] == 0


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="mask: expected voxels to compare but it is empty"):
        compare_volumes(REAL, REAL, MASK & False)
    with pytest.raises(InputError, match="expected images of at least 7 x 7 for MS-SSIM but got 6 x 18"):
        compare_volumes(REAL[:6], REAL[:6], MASK[:6])
    with pytest.raises(InputError, match="expected a positive window_width in HU but got 0"):
        compare_volumes(REAL, REAL, MASK, window_width=0)
