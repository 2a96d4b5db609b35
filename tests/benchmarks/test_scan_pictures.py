"""Pictures say that they are synthetic, and show slices in the radiological orientation."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scan_pictures import draw_pair, draw_regions, draw_scan, shown_slices, telling_slices

SHAPE, AFFINE = (40, 30, 12), np.diag([2.0, 2.0, 5.0, 1.0])


@pytest.fixture
def hu() -> np.ndarray:
    hu = np.full(SHAPE, -1000.0)
    hu[4:36, 4:26] = 40
    return hu


def words(page) -> str:
    figure = page.figure
    found = [text.get_text() for text in figure.texts]
    return " ".join([*found, *(text.get_text() for axes in figure.axes for text in axes.texts)])


def test_slices_are_at_equal_distances_from_the_head_down():
    assert shown_slices(12) == [11, 9, 7, 5, 3, 1]
    assert shown_slices(2) == [1, 0] and shown_slices(1) == [0]


def test_a_scan_is_shown_with_what_changed(hu, tmp_path):
    page = draw_scan(hu, hu + 50, AFFINE, "scan", "Weights: model.pt.")
    text = words(page)
    assert text.count("SYNTHETIC") == 2 * 6 + 1 and "Research use only." in text and "Weights: model.pt." in text
    assert "z = 55 mm" in text
    page.save(tmp_path / "scan.png")
    assert (tmp_path / "scan.png").stat().st_size > 5000


def test_regions_are_outlined(hu):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[10:20, 10:20, 5] = True
    page = draw_regions(hu, AFFINE, {"liver": mask}, "scan")
    assert "liver" in words(page)
    assert "z = 25 mm" in words(page)  # the slice that shows it
    outlined = [axes for axes in page.figure.axes if axes.collections]
    assert len(outlined) == 1


def test_slices_are_chosen_that_show_all_regions():
    masks = {name: np.zeros(SHAPE, dtype=bool) for name in "abc"}
    masks["a"][5, 5, 2:5], masks["b"][5, 5, 4], masks["c"][5, 5, 11] = True, True, True
    assert telling_slices(masks, rows=2) == [11, 4]
    assert len(telling_slices(masks)) == 6 and telling_slices({"a": masks["a"][..., :1]}) == [0]


def test_a_pair_shows_each_methods_error(hu):
    plane = hu[..., 5]
    both = words(draw_pair({"fixed": plane + 60, "identity": plane, "synthetic": plane + 50}, "pair", True))
    assert "SYNTHETIC" in both and "real CECT" in both and both.count("MSE") >= 2
    alone = words(draw_pair({"fixed": plane, "identity": plane}, "motion", False))
    assert "SYNTHETIC" not in alone and "real CECT" not in alone
