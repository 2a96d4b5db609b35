from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from monai_nce.visualize import Display, FigureRow, draw_registration, radiological


def row(**changes: Any) -> FigureRow:
    """A body that fills the picture; the right-anterior quarter takes up contrast, the left-posterior one moved."""
    aligned = np.full((40, 30), 20.0)
    target = aligned.copy()
    target[20:, 15:] = 70
    source = aligned.copy()
    source[:20, :15] = -30
    half = (source + aligned) / 2
    given = {"affine": source + 1, "VoxelMorph": half, "B-spline": aligned}
    return replace(FigureRow("p0, slice 3", source, target, given, aligned), **changes)


def quarters(pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Mean colour well within the quarters of a panel, as one looks at a patient."""
    height, width = pixels.shape[:2]
    rows = {"anterior": slice(height // 8, 3 * height // 8), "posterior": slice(5 * height // 8, 7 * height // 8)}
    columns = {"right": slice(width // 8, 3 * width // 8), "left": slice(5 * width // 8, 7 * width // 8)}
    return {f"{s} {a}": pixels[rows[a], columns[s]].mean(axis=(0, 1)) for a in rows for s in columns}


def test_columns_and_lines(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    path = tmp_path / "new" / "figure2.png"
    draw_registration([row(), row()], Display(data_name="phantom")).save(path)
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 1000
    assert len(panels) == 2 * (1 + 2 * 4)
    images = {panel["title"]: panel for panel in panels[:9] if panel["limits"] == (-100, 200)}
    assert list(images) == ["CECT, fixed", "NECT, moving", "affine", "VoxelMorph", "B-spline"]
    expected = [row().target, row().source, *row().made.values()]
    for panel, image in zip(images.values(), expected, strict=True):
        np.testing.assert_array_equal(panel["image"], radiological(image))
        assert "R" in panel["texts"]
    changes = [panel for panel in panels[:9] if panel["limits"] == (-100, 100)]
    assert [panel["title"] for panel in changes] == list(images)[1:]
    note = " ".join(panels[0]["notes"][-1].split())
    assert "aligned NECT" in note and "Window level 50, width 300 HU. Data: phantom. Research use only." in note
    assert panels[0]["bar"] == ["false \N{LEFTWARDS ARROW} HU \N{RIGHTWARDS ARROW} correct"]


def test_contrast_is_blue_and_what_registration_leaves_is_red(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure2.png"
    draw_registration([row()], Display()).save(path)
    changes = {panel["title"]: panel for panel in panels if panel["limits"] == (-100, 100)}
    for name, left_over in (("NECT, moving", 255), ("VoxelMorph", 127), ("B-spline", 0)):
        seen = quarters(panel_pixels(path, changes[name]))
        # 50 HU is the pure colour
        np.testing.assert_allclose(seen["right anterior"], [0x21, 0x66, 0xFF], atol=6)
        assert seen["left posterior"][0] == pytest.approx(left_over, abs=6)
        assert seen["left posterior"][2] < 40
        assert seen["left anterior"].max() < 6 and seen["right posterior"].max() < 6
    shares = [changes[name]["texts"][-1] for name in ("NECT, moving", "VoxelMorph", "B-spline")]
    assert shares == ["50 % false", "33 % false", "0 % false"]


def test_without_an_aligned_source_only_darker_is_red(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure2.png"
    darker = row().source.copy()
    darker[20:, :15] = 70  # right posterior: the target is darker, which contrast medium cannot do
    rows = [row(made={"m": darker}, aligned_source=None), row(made={"m": darker})]
    draw_registration(rows, Display()).save(path)
    seen = quarters(panel_pixels(path, [panel for panel in panels if panel["title"] == "m"][1]))
    assert seen["right posterior"][0] > 200 > 50 > seen["right posterior"][2]
    for bright in ("left posterior", "right anterior"):
        assert seen[bright][2] > 200 > 50 > seen[bright][0]
    assert "no aligned NECT" in panels[0]["notes"][-1]
    assert panels[0]["bar"] == ["darker \N{LEFTWARDS ARROW} HU \N{RIGHTWARDS ARROW} brighter"]


def test_other_names_window_and_unit(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    draw_registration([row()], Display("T2", "PD", 500, 900, unit="")).save(tmp_path / "a.png")
    assert [panel["title"] for panel in panels[:2]] == ["PD, fixed", "T2, moving"]
    assert {panel["limits"] for panel in panels} == {(50, 950), (-300, 300)}
    assert "HU" not in "".join(panels[0]["notes"] + panels[0]["bar"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([row(made={})], "at least one method"),
        ([row(), row(made={"affine": row().source})], "methods .* in every row"),
    ],
)
def test_wrong_rows_are_refused(rows: list[FigureRow], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_registration(rows, Display())


def test_a_failure_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure2.png"
    path.write_bytes(b"old")

    def half(figure: Figure, file: Any, **kwargs: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space left"):
        draw_registration([row()], Display()).save(path)
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["figure2.png"]
