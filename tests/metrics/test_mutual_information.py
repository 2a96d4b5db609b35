from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import normalized_mutual_information as by_skimage

from monai_nce.metrics.mutual_information import BINS, normalized_mutual_information, source_mutual_information


@given(st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=8, deadline=None)
def test_against_scikit_image(seed: int, share: float) -> None:
    one, noise = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 20, 24))
    other = share * one + (1 - share) * noise
    for image in (*one, *other):
        image.flat[:2] = -1, 1  # scikit-image's bins reach from the lowest to the highest value
    found = normalized_mutual_information(*(torch.from_numpy(images)[:, None] for images in (one, other)))
    expected = [by_skimage(*pair, bins=BINS) for pair in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_ends_of_the_scale() -> None:
    image = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    assert normalized_mutual_information(image, -image) == pytest.approx(2)  # inverted, and still known
    assert normalized_mutual_information(image, torch.zeros_like(image)) == pytest.approx(1)
    assert normalized_mutual_information(0 * image, 0 * image) == 2
    assert source_mutual_information(image, 0 * image, image) == pytest.approx(2)
