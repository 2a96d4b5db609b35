from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure

from monai_nce.visualize import radiological
from monai_nce.visualize.panels import Crop, Page, Window, column_names

CT = Window(50, 300)


def test_the_patients_right_is_left_and_anterior_on_top() -> None:
    axial = np.zeros((4, 3))
    axial[3, 2] = 1  # RAS: the last of both axes is right-anterior
    axial[0, 2] = 2  # left-anterior
    axial[3, 0] = 3  # right-posterior
    shown = radiological(axial)
    assert shown.shape == (3, 4)
    assert (shown[0, 0], shown[0, -1], shown[-1, 0]) == (1, 2, 3)


def body(height: int = 40, width: int = 30) -> np.ndarray:
    image = np.full((height, width), -1000.0)
    image[10:30, 8:18] = 0
    return image


def test_a_window_compares_what_it_shows() -> None:
    assert (CT.low, CT.high, str(CT)) == (-100, 200, "Window level 50, width 300 HU.")
    assert Window(500, 1000, "").note("IXI") == "Window level 500, width 1000. Data: IXI."
    difference = CT.difference(np.array([900.0, 50, -900]), np.array([300.0, 20, 0]))
    assert difference.tolist() == [0, 30, -100]


def test_a_crop_holds_all_that_any_image_shows() -> None:
    other = np.full((40, 30), -1000.0)
    other[35, 20] = -50  # an artefact beyond the body must stay in sight
    crop = Crop("p0", {"a": body(), "b": other}, (2.0, 1.0), CT)
    assert crop.box == (slice(8, 38), slice(7, 22))
    assert crop.aspect == pytest.approx(15 * 1.0 / (30 * 2.0))
    assert crop(other).max() == -50
    assert Crop("p0", {"a": body()}, (1.0, 1.0), CT).box == (slice(9, 31), slice(7, 19))


def test_a_crop_keeps_within_the_image_and_keeps_an_empty_one() -> None:
    for value in (-1000.0, -95.0, 0.0):  # air, next to black, nothing but body
        assert Crop("p0", {"a": np.full((8, 6), value)}, (1.0, 1.0), CT).box == (slice(0, 8), slice(0, 6))


@pytest.mark.parametrize("shape", [(40, 31), (30, 40), (40, 30, 1)])
def test_images_of_different_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape("one shape (H, W) in row 'p0'")):
        Crop("p0", {"a": body(), "b": np.zeros(shape)}, (1.0, 1.0), CT)


def test_column_names_are_the_first_rows() -> None:
    a = np.zeros((2, 2))
    assert column_names([{"x": a, "y": a}, {"y": a, "x": a}]) == ["x", "y"]
    for rows, message in (
        ([], "at least one row"),
        ([{}], "at least one method"),
        ([{"x": a}, {"y": a}], re.escape("methods ['x'] in every row but got ['y']")),
        ([{"x": a}, {"x": a, "y": a}], re.escape("but got ['x', 'y']")),
    ):
        with pytest.raises(ValueError, match=message):
            column_names(rows)


def test_nothing_on_a_page_overlaps_or_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [body(), body(20, 60), body(60, 20)]
    crops = [Crop("p", {"a": image}, (1.0, 1.0), CT) for image in images]
    note = "A long note that does not fit into one line. " * 8
    page = Page(
        ["a method with a name of many words", "Wwwwwwwwwwwwwwwwww"],
        crops,
        ["patient_with_a_long_name_000, slice 20 of 32"] * 3,
        note,
        lines=2,
    )
    for r, image in enumerate(images):
        for c in range(2):
            for line in range(2):
                page.panel(r, c, image, "gray", CT.low, CT.high, line, "SYNTHETIC")
    bar = page.bar(colormaps["gray"], 100, "HU", column=2, line=1)
    boxes: list[Any] = []

    def measure(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figure.draw_without_rendering()
        boxes.extend(text.get_window_extent() for text in figure.texts)
        boxes.extend(axes.get_window_extent() for axes in figure.axes if axes is not bar.ax)
        boxes.append(bar.ax.get_tightbbox())
        Path(args[0]).touch()

    monkeypatch.setattr(Figure, "savefig", measure)
    page.save(tmp_path / "page.png")
    width, height = page.figure.bbox.size
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    overlapping = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not overlapping
    assert "Research use only." in page.figure.texts[-1].get_text()
