from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from monai_nce.visualize import PreviewRow
from monai_nce.visualize.quick_preview import GAP, LEFT, PANEL, TOP, draw_quick_preview


def pixels(path: Path, column: int) -> np.ndarray:
    """A panel of the first row, ``(PANEL, PANEL, 3)``."""
    left = LEFT + column * (PANEL + GAP)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)[TOP : TOP + PANEL, left : left + PANEL]


def draw(path: Path, rows: Sequence[PreviewRow], *args: Any, **kwargs: Any) -> None:
    path.write_bytes(draw_quick_preview(rows, *args, **kwargs))


def row(change: float = 0.0, shape: tuple[int, int] = (60, 60), **more: tuple[float, float]) -> PreviewRow:
    """Grey, with a square towards the patient's right and anterior that the network changes."""
    source = np.full(shape, 50.0)
    synthetic = source.copy()
    synthetic[40:50, 35:45] += change  # high indices: towards right and anterior
    return PreviewRow("slice 1 of 1", source, synthetic, **more)


def test_the_window_from_black_to_white(tmp_path: Path) -> None:
    source = np.repeat(np.array([-100.0, 50.0, 200.0, 900.0]), 15)[::-1, None] * np.ones((1, 60))
    draw(tmp_path / "p.png", [PreviewRow("t", source, source)])
    middle = pixels(tmp_path / "p.png", 0)[PANEL // 4]
    assert [middle[round((i + 0.5) * PANEL / 4), 0] for i in range(4)] == [0, 128, 255, 255]
    assert (middle[:, 0] == middle[:, 2]).all()


@pytest.mark.parametrize(("change", "channel"), [(80.0, 0), (-80.0, 2)])
def test_a_change_is_coloured_where_it_is_as_one_looks_at_the_patient(
    tmp_path: Path, change: float, channel: int
) -> None:
    draw(tmp_path / "p.png", [row(change)])
    difference = pixels(tmp_path / "p.png", 2)
    rows, columns = np.nonzero(difference[..., channel] > 150)
    here = (rows > 0.27 * PANEL) & (rows < 0.4 * PANEL) & (columns > 0.18 * PANEL) & (columns < 0.32 * PANEL)
    assert here.sum() > 0.015 * PANEL**2  # upper left
    clear = difference[int(0.55 * PANEL) : int(0.9 * PANEL), int(0.1 * PANEL) : int(0.9 * PANEL)]
    assert clear.max() <= 2
    assert np.array_equal(pixels(tmp_path / "p.png", 0)[80:110, 60:90], np.full((30, 30, 3), 128))


def test_what_lies_beyond_the_window_makes_no_difference(tmp_path: Path) -> None:
    bone = PreviewRow("t", np.full((20, 20), 900.0), np.full((20, 20), 1300.0))
    draw(tmp_path / "p.png", [bone])
    assert pixels(tmp_path / "p.png", 2)[20:120, 60:200].max() <= 2


def test_both_panels_that_are_not_the_scan_say_that_they_are_synthetic(tmp_path: Path) -> None:
    draw(tmp_path / "p.png", [row()])
    for column, marked in ((0, False), (1, True), (2, True)):
        corner = pixels(tmp_path / "p.png", column)[-18:, -80:]
        assert ((corner[..., 0] > 200) & (corner[..., 2] < 60)).any() == marked


def test_pixels_that_are_not_square_and_several_rows(tmp_path: Path) -> None:
    rows = [row(pixel_size=(1.0, 2.0)), row(shape=(80, 60))]
    draw(tmp_path / "p.png", rows, "A", "B", 0.0, 100.0, note="n")
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.format == "PNG"
        assert picture.height == pytest.approx(2 * PANEL + 0.75 * PANEL + 66, abs=2)


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        draw(tmp_path / "p.png", [])
