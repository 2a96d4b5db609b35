from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from monai_nce.metrics import ImageMetrics
from monai_nce.visualize import Display, FigureRow, draw_comparison, radiological

LEVELS = {"single": 80.0, "cycle": 50.0, "separate": 20.0}  # the methods' gray values, left-anterior


def row(**changes: Any) -> FigureRow:
    """All at 50 HU; ``single`` is 50 HU brighter at right-anterior and 50 HU darker at left-posterior."""
    target = np.full((40, 30), 50.0)
    synthetic = {}
    for method, level in LEVELS.items():
        synthetic[method] = target.copy()
        synthetic[method][:20, 15:] = level
    synthetic["single"][20:, 15:] += 50
    synthetic["single"][:20, :15] -= 50
    source = np.full((40, 30), -25.0)
    return replace(FigureRow("p0, slice 3", source, target, synthetic), **changes)


def corners(pixels: np.ndarray) -> list[np.ndarray]:
    """Colours at right-anterior, left-anterior, right-posterior and left-posterior: as the page is read."""
    height, width = pixels.shape[:2]
    return [pixels[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]


def gray(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [panel for panel in panels if panel["limits"] == (-100, 200)]


def differences(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [panel for panel in panels if panel["limits"] == (-100, 100)]


def test_each_image_stands_under_its_name(tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any) -> None:
    path = tmp_path / "figure6.png"
    turned = row(made=dict(reversed(row().made.items())))
    draw_comparison([row(), turned], Display()).save(path)
    assert len(panels) == 2 * (5 + 4)
    for part in (gray(panels)[:5], gray(panels)[5:]):
        assert [panel["title"] for panel in part] == ["NECT", "single", "cycle", "separate", "real CECT"]
        for panel, level in zip(part[1:4], LEVELS.values(), strict=True):
            seen = corners(panel_pixels(path, panel))[1]
            np.testing.assert_allclose(seen, 255 * (level + 100) / 300, atol=3)
        assert ["SYNTHETIC" in panel["texts"] for panel in part] == [False, True, True, True, False]
        assert all("R" in panel["texts"] for panel in part)
    assert [panel["title"] for panel in differences(panels)[:4]] == ["NECT", "single", "cycle", "separate"]
    np.testing.assert_array_equal(gray(panels)[0]["image"], radiological(row().source))
    np.testing.assert_array_equal(gray(panels)[4]["image"], radiological(row().target))


def test_what_was_made_up_is_not_called_real(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    draw_comparison([row()], Display(kind="virtual")).save(tmp_path / "figure6.png")
    assert "virtual CECT" in [panel["title"] for panel in panels]
    assert not any("real" in panel["title"] for panel in panels)


def test_brighter_than_the_real_one_is_red(tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any) -> None:
    path = tmp_path / "figure6.png"
    draw_comparison([row()], Display()).save(path)
    single = corners(panel_pixels(path, differences(panels)[1]))
    np.testing.assert_allclose(single[0], [0xFF, 0x40, 0x20], atol=6)
    assert single[2].max() < 6
    np.testing.assert_allclose(single[3], [0x21, 0x66, 0xFF], atol=6)
    cycle = corners(panel_pixels(path, differences(panels)[2]))
    assert np.max(cycle) < 6


def test_the_mse_is_that_of_the_tables(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    air = np.full((40, 30), -1000.0)
    inside = np.s_[12:20, 9:15]  # cropped away or not, air counts
    images = {name: air.copy() for name in ("source", "target", "m")}
    for value, image in zip((0.0, 400.0, 120.0), images.values(), strict=True):
        image[inside] = value
    rows = [FigureRow("p", images["source"], images["target"], {"m": images["m"]})]
    draw_comparison(rows, Display()).save(tmp_path / "a.png")
    volumes = {name: torch.tensor((image - 50) / 150)[None, ..., None] for name, image in images.items()}
    for panel, name in zip(differences(panels), ("source", "m"), strict=True):
        expected = float(ImageMetrics()(volumes[name], volumes["target"].clamp(-1, 1))["mse"])
        assert panel["texts"][-1] == f"MSE {expected:.4f}" != "MSE 0.0000"
        assert panel["image"].shape < (30, 40)


def test_identity_is_not_called_synthetic_and_takes_the_sources_place(
    tmp_path: Path, panels: list[dict[str, Any]]
) -> None:
    rows = [row(made={"identity": row().source, **row().made})]
    draw_comparison(rows, Display()).save(tmp_path / "a.png")
    assert [panel["title"] for panel in differences(panels)] == ["identity", *LEVELS]
    assert "SYNTHETIC" not in gray(panels)[1]["texts"]


def test_mr_images(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    display = Display("T2", "PD", 500, 1000, unit="", data_name="IXI, distortion 0.05")
    draw_comparison([row()], display).save(tmp_path / "figure8.png")
    assert [panel["title"] for panel in panels if panel["limits"] == (0, 1000)] == ["T2", *LEVELS, "real PD"]
    note = " ".join(panels[0]["notes"][-1].split())
    assert note.endswith("Window level 500, width 1000. Data: IXI, distortion 0.05. Research use only.")
    assert "HU" not in "".join(panels[0]["notes"] + panels[0]["bar"])


@pytest.mark.parametrize(("height_mm", "width_mm"), [(1.0, 1.0), (2.0, 1.0), (0.5, 1.5)])
def test_pixels_are_drawn_in_their_size(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any, height_mm: float, width_mm: float
) -> None:
    height, width = round(60 / height_mm), round(60 / width_mm)
    y, x = (np.arange(height) - height / 2 + 0.5) * height_mm, (np.arange(width) - width / 2 + 0.5) * width_mm
    square = np.where((np.abs(y)[:, None] < 15) & (np.abs(x)[None] < 15), 200.0, -50.0)
    path = tmp_path / "a.png"
    rows = [FigureRow("p", square, square, {"m": square}, pixel_size=(height_mm, width_mm))]
    draw_comparison(rows, Display()).save(path)
    bright = panel_pixels(path, panels[0])[..., 2] > 150  # the letter R is yellow, without blue
    rows, columns = bright.any(axis=1).sum(), bright.any(axis=0).sum()
    assert rows > 30 and rows == pytest.approx(columns, rel=0.08)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([row(made={})], "at least one method"),
        ([row(), row(made={"joint": row().target})], "methods .* in every row but got .*joint"),
    ],
)
def test_wrong_rows_are_refused(rows: list[FigureRow], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_comparison(rows, Display())


@pytest.mark.usefixtures("full_disk")
def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        draw_comparison([row()], Display()).save(tmp_path / "figure6.png")
    assert list(tmp_path.iterdir()) == []
