from __future__ import annotations

import numpy as np
import pytest

from monai_nce.errors import InputError
from monai_nce.transforms.mri_intensity import full_scale, scale_intensity


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
