from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from monai_nce.visualize import Display, FigureRow, radiological
from monai_nce.visualize.panels import DIFFERENCE_COLOURS, Page, method_names

CT = Display()


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
    assert (CT.low, CT.high, CT.limit, CT.note) == (-100, 200, 100, "Window level 50, width 300 HU.")
    assert Display("T2", "PD", 500, 1000, "", "IXI").note == "Window level 500, width 1000. Data: IXI."
    difference = CT.difference(np.array([900.0, 50, -900]), np.array([300.0, 20, 0]))
    assert difference.tolist() == [0, 30, -100]


def test_a_row_is_cut_to_what_any_image_shows() -> None:
    other = np.full((40, 30), -1000.0)
    other[35, 20] = -50  # an artefact beyond the body must stay in sight
    row = FigureRow("p0", body(), made={"b": other})
    assert row.box(CT) == (slice(8, 38), slice(7, 22))
    assert other[row.box(CT)].max() == -50
    assert FigureRow("p0", body()).box(CT) == (slice(9, 31), slice(7, 19))
    assert FigureRow("p0", body(), aligned_source=other).box(CT) == row.box(CT)


def test_a_cut_keeps_within_the_image_and_keeps_an_empty_one() -> None:
    for value in (-1000.0, -95.0, 0.0):  # air, next to black, nothing but body
        assert FigureRow("p0", np.full((8, 6), value)).box(CT) == (slice(0, 8), slice(0, 6))


@pytest.mark.parametrize("shape", [(40, 31), (30, 40), (40, 30, 1)])
@pytest.mark.parametrize("where", ["target", "aligned_source", "made"])
def test_images_of_different_shapes_are_refused(shape: tuple[int, ...], where: str) -> None:
    other = np.zeros(shape)
    with pytest.raises(ValueError, match=re.escape("one shape (H, W) in row 'p0'")):
        FigureRow("p0", body(), **{where: {"b": other} if where == "made" else other})


def test_volumes_are_refused() -> None:
    with pytest.raises(ValueError, match=re.escape("one shape (H, W) in row 'p0'")):
        FigureRow("p0", np.zeros((4, 4, 4)))


def test_method_names_are_the_first_rows() -> None:
    a = np.zeros((2, 2))

    def names(*methods: str) -> list[str]:
        return method_names([FigureRow("p", a, made=dict.fromkeys(row, a)) for row in methods])

    assert names("xy", "yx") == ["x", "y"]
    for rows, message in (
        ((), "at least one row"),
        (("",), "at least one method"),
        (("x", "y"), re.escape("methods ['x'] in every row but got ['y']")),
        (("x", "xy"), re.escape("but got ['x', 'y']")),
    ):
        with pytest.raises(ValueError, match=message):
            names(*rows)


@pytest.mark.parametrize("warning", ["", "Another long text that does not fit into one line. " * 4])
def test_nothing_on_a_page_overlaps_or_is_cut(warning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [body(), body(20, 60), body(60, 20)]
    rows = [FigureRow("patient_with_a_long_name_000, slice 20 of 32", image) for image in images]
    note = "A long note that does not fit into one line. " * 8
    page = Page(
        ["a method with a name of many words", "Wwwwwwwwwwwwwwwwww"],
        rows,
        CT,
        note,
        lines=2,
        warning=warning,
    )
    for r, image in enumerate(images):
        for c in range(2):
            for line in range(2):
                page.panel(r, c, image, None, line, "SYNTHETIC")
    bar = page.bar(DIFFERENCE_COLOURS, column=1, line=1)
    boxes: list[Any] = []

    def measure(figure: Figure, *args: Any, **kwargs: Any) -> None:
        figure.draw_without_rendering()
        boxes.extend(text.get_window_extent() for text in figure.texts)
        boxes.extend(axes.get_window_extent() for axes in figure.axes if axes is not bar.ax)
        boxes.append(bar.ax.get_tightbbox())

    monkeypatch.setattr(Figure, "savefig", measure)
    page.save(tmp_path / "page.png")
    width, height = page.figure.bbox.size
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height for box in boxes)
    overlapping = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert not overlapping
    assert "Research use only." in page.figure.texts[-1].get_text()
    assert any(text.get_text().replace("\n", " ") == warning.strip() for text in page.figure.texts) == bool(warning)
