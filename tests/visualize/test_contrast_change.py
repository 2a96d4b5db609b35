from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.colors import to_rgb

from monai_nce.visualize import Display
from monai_nce.visualize.contrast_change import CHANGE_COLOURS, split_change

CT = Display()
IMAGE = hnp.arrays(np.float64, (3, 4), elements=st.floats(-300, 400))


@pytest.mark.parametrize(
    ("target", "source", "aligned", "correct", "false"),
    [
        (120, 40, 40, 80, 0),  # all of the true enhancement and no more
        (120, 70, 40, 50, 0),  # some of it: too little is not false
        (120, -30, 40, 80, 70),  # too much: bowel moved away, or a source that is too dark
        (120, 150, 40, 0, -30),  # the wrong way
        (40, 10, 40, 0, 30),  # where nothing takes up contrast medium
        (40, 90, 40, 0, -50),
        (40, 60, 50, -10, -10),  # the truth may be darker too: noise
        (900, 200, 200, 0, 0),  # beyond the window
    ],
)
def test_with_an_aligned_source(target: float, source: float, aligned: float, correct: float, false: float) -> None:
    found = split_change(*(np.array([[float(value)]]) for value in (target, source, aligned)), CT)
    assert [part.item() for part in found] == [correct, false]


@pytest.mark.parametrize(("target", "correct", "false"), [(120, 80, 0), (10, 0, -30), (40, 0, 0), (900, 160, 0)])
def test_without_one_the_sign_decides(target: float, correct: float, false: float) -> None:
    found = split_change(np.array([[float(target)]]), np.array([[40.0]]), None, CT)
    assert [part.item() for part in found] == [correct, false]


@given(IMAGE, IMAGE, st.none() | IMAGE)
def test_both_parts_add_up_to_the_change(target: np.ndarray, source: np.ndarray, aligned: Any) -> None:
    correct, false = split_change(target, source, aligned, CT)
    np.testing.assert_allclose(correct + false, CT.difference(target, source), atol=1e-9)


@given(IMAGE, IMAGE)
def test_the_aligned_source_itself_has_no_false_change(target: np.ndarray, aligned: np.ndarray) -> None:
    correct, false = split_change(target, aligned, aligned, CT)
    assert not false.any()
    np.testing.assert_array_equal(correct, CT.difference(target, aligned))


def test_correct_is_blue_and_false_is_red() -> None:
    red, black, blue = (to_rgb(CHANGE_COLOURS[place]) for place in (1, 2, 3))
    assert blue[2] > 0.9 and blue[2] > 2 * blue[1] and blue[0] < 0.2
    assert red[0] > 0.9 and red[0] > 2 * red[1] and red[2] < 0.2
    assert max(black[:3]) < 0.01
