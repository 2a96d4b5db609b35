from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from monai.data import MetaTensor
from PIL import Image

from monai_nce.data import Provenance
from monai_nce.visualize import (
    Display,
    DrawImagePreviewd,
    FigureRow,
    SaveImagePreviewd,
    axial_slices,
    draw_preview,
    preview,
    radiological,
    side_by_side,
)

NAME = "synthetic CECT"
TABLE = [["method", "MSE", "MAE HU"], ["identity", "0.0297 [0.0251, 0.0341]", "9.87"], ["separate", "0.0078", "5.43"]]


def row(source: np.ndarray, synthetic: np.ndarray, target: np.ndarray | None = None, **more: Any) -> FigureRow:
    return FigureRow("p0, slice 3", source, target, {NAME: synthetic}, **more)


def slices(height: int = 40, width: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, synthetic and target; the synthetic equals the target but for a square at right-anterior."""
    source = np.full((height, width), -20.0)
    target = source.copy()
    target[10:30, 8:22] = 120
    synthetic = target.copy()
    synthetic[30:38, 22:28] += 100  # high indices: towards the patient's right and anterior
    return source, synthetic, target


def test_four_columns_in_the_window(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    source, synthetic, target = slices()
    path = tmp_path / "new" / "preview.png"
    draw_preview([row(source, synthetic, target)] * 2, Display(), table=TABLE).save(path)
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width > 900
    assert [panel["title"] for panel in panels[:4]] == ["NECT", "synthetic CECT", "real CECT", "synthetic - real"]
    assert len(panels) == 8
    for panel, image in zip(panels, (source, synthetic, target), strict=False):
        assert panel["limits"] == (-100, 200)
        np.testing.assert_array_equal(panel["image"], radiological(image))
    assert panels[3]["limits"] == (-100, 100)
    np.testing.assert_allclose(panels[3]["image"], radiological(np.clip(synthetic, -100, 200) - target))
    assert all("R" in panel["texts"] for panel in panels)


def test_difference_is_black_where_nothing_differs(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "preview.png"
    draw_preview([row(*slices())], Display()).save(path)
    pixels = panel_pixels(path, panels[3])
    height, width = pixels.shape[:2]
    equal = pixels[int(0.6 * height) : int(0.85 * height), int(0.3 * width) : int(0.95 * width)]
    assert equal.max() <= 2
    # the square at right-anterior: upper left, and red because the synthetic image is brighter
    differing = pixels[int(0.1 * height) : int(0.2 * height), int(0.1 * width) : int(0.2 * width)]
    assert (differing[..., 0] > 200).all() and (differing[..., 2] < differing[..., 0]).all()


def test_difference_is_that_of_the_windowed_images(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    source, _, target = slices()
    bone = np.where(target == 120, 900.0, target)  # beyond the window in both
    rows = [row(source, bone + 300 * (bone > 500), bone)]
    draw_preview(rows, Display()).save(tmp_path / "preview.png")
    assert np.abs(panels[3]["image"]).max() == 0


def test_without_a_target_the_source_is_compared(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    source, synthetic, _ = slices()
    rows = [FigureRow("p0", source, made={"synthetic T1": synthetic})]
    draw_preview(rows, Display("PD", "T1", 0, 400, unit=""), "SYNTHETIC.").save(tmp_path / "preview.png")
    assert [panel["title"] for panel in panels] == ["PD", "synthetic T1", "synthetic - PD"]
    assert panels[0]["limits"] == (-200, 200)
    np.testing.assert_allclose(panels[2]["image"], radiological(np.clip(synthetic, -200, 200) - source))
    assert ["SYNTHETIC" in panel["texts"] for panel in panels] == [False, True, True]
    assert panels[0]["notes"][-1] == "SYNTHETIC. Window level 0, width 400. Research use only."


@pytest.mark.parametrize("more", [0, 5])
def test_the_table_stands_under_the_pictures(more: int) -> None:
    lines = [[*line, *["0.0297 [0.0251, 0.0341]"] * more] for line in TABLE]
    page = draw_preview([row(*slices())], Display(data_name="phantom"), table=lines)
    axes = next(axes for axes in page.figure.axes if axes.tables)
    cells = {place: cell.get_text().get_text() for place, cell in axes.tables[0].get_celld().items()}
    assert cells == {(r, c): text for r, line in enumerate(lines) for c, text in enumerate(line)}
    page.figure.draw_without_rendering()
    for cell in axes.tables[0].get_celld().values():
        text, box = cell.get_text().get_window_extent(), cell.get_window_extent()
        assert box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1
    table, note = axes.get_window_extent(), page.figure.texts[-1].get_window_extent()
    pictures = [other.get_window_extent() for other in page.figure.axes if other.images]
    assert note.y1 <= table.y0 and all(table.y1 <= picture.y0 for picture in pictures)
    assert "Data: phantom." in page.figure.texts[-1].get_text()


@pytest.mark.parametrize(("height_mm", "width_mm"), [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5)])
def test_pixels_are_drawn_in_their_size(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any, height_mm: float, width_mm: float
) -> None:
    # a cross of 20 mm both ways, on whatever grid
    height, width = round(60 / height_mm), round(60 / width_mm)
    y, x = (np.arange(height) - height / 2 + 0.5) * height_mm, (np.arange(width) - width / 2 + 0.5) * width_mm
    square = np.where((np.abs(y)[:, None] < 15) & (np.abs(x)[None] < 15), 200.0, -100.0)
    path = tmp_path / "preview.png"
    draw_preview([row(square, square, square, pixel_size=(height_mm, width_mm))], Display()).save(path)
    bright = panel_pixels(path, panels[0])[..., 2] > 128  # the letter R is yellow, without blue
    rows, columns = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert rows > 30 and rows == pytest.approx(columns, rel=0.08)


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        draw_preview([], Display())


def test_a_failure_leaves_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "preview.png"
    rows = [row(*slices())]
    draw_preview(rows, Display()).save(path)
    old = path.read_bytes()

    def half(figure: Figure, file: Any, **kwargs: Any) -> None:
        file.write(old[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space left"):
        draw_preview(rows, Display(), table=TABLE).save(path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["preview.png"]


LPS = torch.diag(torch.tensor([-2.0, -2.5, 4.0, 1.0]))


def volume(values: np.ndarray, affine: torch.Tensor = LPS) -> MetaTensor:
    return MetaTensor(torch.as_tensor(values, dtype=torch.float32)[None], affine=affine)


def test_axial_slices_turn_any_order_of_axes_to_right_anterior_superior():
    marked = np.zeros((4, 5, 6), dtype=np.float32)
    marked[3, 4, 5] = 1  # farthest towards left, posterior and superior in LPS
    upright, pixel = axial_slices(volume(marked))
    assert upright[0, 0, 5] == 1 and pixel == (2.0, 2.5)
    permuted = torch.zeros(4, 4)
    permuted[2, 0], permuted[0, 1], permuted[1, 2], permuted[3, 3] = 4.0, 2.0, -2.5, 1.0  # S, R, P
    upright, pixel = axial_slices(volume(np.moveaxis(marked, 2, 0)[:, ::-1].copy(), permuted))
    assert upright.shape == (4, 5, 6) and upright[0, 0, 5] == 1 and pixel == (2.0, 2.5)


def test_a_picture_lies_beside_the_volume_and_shows_its_slices(tmp_path, monkeypatch):
    seen = {}

    def spy(rows, *args, **kwargs):
        seen["rows"] = rows
        return draw(rows, *args, **kwargs)

    draw = preview.draw_preview
    monkeypatch.setattr(preview, "draw_preview", spy)
    source = np.random.default_rng(0).normal(0, 30, (30, 40, 8)).astype(np.float32)
    item = {"pred": volume(source + 25), "hu": volume(source), "output": str(tmp_path / "a_synthetic.nii.gz")}
    SaveImagePreviewd()(DrawImagePreviewd("pred", source_key="hu")(item))
    with Image.open(tmp_path / "a_synthetic.png") as picture:
        assert min(picture.size) > 200
    assert [row.title for row in seen["rows"]] == ["slice 7 of 8", "slice 5 of 8", "slice 3 of 8"]
    row = seen["rows"][1]
    np.testing.assert_array_equal(row.source, source[::-1, ::-1, 4])
    np.testing.assert_allclose(row.made["synthetic CECT"] - row.source, 25, atol=1e-4)
    assert row.target is None


@pytest.mark.parametrize("depth, slices", [(1, 1), (2, 2), (3, 3)])
def test_thin_volumes(tmp_path, depth, slices):
    flat = volume(np.zeros((8, 8, depth)))
    item = {"pred": flat, "hu": flat, "output": tmp_path / "new" / "a.nii"}
    SaveImagePreviewd()(DrawImagePreviewd("pred", source_key="hu")(item))
    assert (tmp_path / "new" / "a.png").is_file()


def test_what_goes_wrong_while_drawing_is_said_when_saving(tmp_path, monkeypatch):
    def fails(rows, *args):
        raise MemoryError("no room for the picture")

    monkeypatch.setattr(preview, "draw_preview", fails)
    flat = volume(np.zeros((8, 8, 1)))
    item = DrawImagePreviewd("pred", source_key="hu")({"pred": flat, "hu": flat, "output": tmp_path / "a.nii"})
    with pytest.raises(MemoryError, match="no room"):
        SaveImagePreviewd()(item)
    assert not (tmp_path / "a.png").exists()


PHANTOM = [{"name": "monai-nce phantom", "kind": "phantom", "patients": 15, "scans": 30}]


@pytest.mark.parametrize("scan", ["phantom", None])
def test_the_picture_says_what_the_weights_learnt_from(
    tmp_path: Path, panels: list[dict[str, Any]], scan: str | None
) -> None:
    flat = volume(np.random.default_rng(0).normal(0, 30, (40, 40, 4)))
    item = {"pred": flat, "hu": flat, "output": tmp_path / "a.nii", "provenance": Provenance(PHANTOM, scan)}
    SaveImagePreviewd()(DrawImagePreviewd("pred", source_key="hu")(item))
    note = panels[0]["notes"][-1].replace("\n", " ")
    assert note.startswith("SYNTHETIC. Weights trained on 15 phantoms (monai-nce phantom). Window level 50")
    warnings = [text for text in panels[0]["notes"] if "trained on phantoms alone" in text]
    assert len(warnings) == (scan is None)
    mark = "SYNTHETIC" if scan else "SYNTHETIC, trained on phantoms"
    assert [mark in panel["texts"] for panel in panels] == [False, True, True] * 3


def test_doubts_about_the_scan_stand_on_top(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    flat = volume(np.zeros((40, 40, 4)))
    item = {"pred": flat, "hu": flat, "output": tmp_path / "a.nii", "doubts": "seems to be a head\nno fat"}
    SaveImagePreviewd()(DrawImagePreviewd("pred", source_key="hu")(item))
    said = " ".join(panels[0]["notes"]).replace("\n", " ")
    assert "Doubt about the scan: seems to be a head. Doubt about the scan: no fat." in said
    assert "SYNTHETIC, trained on phantoms" not in str(panels)


def test_middle_slices_next_to_each_other_as_they_are_looked_at() -> None:
    image, pred, label = (torch.full((1, 4, 6, 5), value) for value in (-1.0, 0.0, 0.5))
    pred[0, 3, 5, 2] = 1  # right-anterior in the middle slice
    pred[0, 0, 0, 1] = 1  # in another slice
    picture = side_by_side({"image": image, "pred": pred, "label": label})
    assert picture.shape == (1, 6, 12)
    assert picture.dtype == torch.float32
    expected = torch.cat([torch.full((6, 4), value) for value in (0.0, 0.5, 0.75)], dim=1)
    expected[0, 4] = 1
    torch.testing.assert_close(picture[0], expected)


def test_values_beyond_the_window_are_clamped() -> None:
    volume = torch.tensor([-3.0, 3.0]).reshape(1, 2, 1, 1)
    assert side_by_side({"pred": volume}, keys=["pred"]).tolist() == [[[1.0, 0.0]]]


def test_metatensors_with_a_graph() -> None:
    volume = MetaTensor(torch.rand(1, 4, 6, 3)).requires_grad_()
    picture = side_by_side({"a": volume, "b": volume}, keys=("a", "b"))
    assert type(picture) is torch.Tensor and not picture.requires_grad
    assert picture.shape == (1, 6, 8)
    assert torch.equal(picture[..., :4], picture[..., 4:])
