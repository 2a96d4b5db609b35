from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from monai_nce.visualize import Display, FigureRow, draw_synthetic_source, radiological

NAME = "synthetic NECT"


def row(**changes: Any) -> FigureRow:
    """Contrast at right-anterior. In the real source bowel moved: too bright left-posterior, too dark left-anterior."""
    aligned = np.full((40, 30), 20.0)
    target = aligned.copy()
    target[20:, 15:] = 70
    source = aligned.copy()
    source[:20, :15] = 70
    source[:20, 15:] = -30
    synthetic = aligned.copy()
    synthetic[20:, 15:] = 45  # half of the contrast is taken out
    return replace(FigureRow("p0, slice 3", source, target, {NAME: synthetic}, aligned), **changes)


def corners(pixels: np.ndarray) -> list[np.ndarray]:
    """Colours at right-anterior, left-anterior, right-posterior and left-posterior: as the page is read."""
    height, width = pixels.shape[:2]
    return [pixels[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]


BLACK, BLUE, HALF_BLUE, RED = ([0, 0, 0], [0x21, 0x66, 0xFF], [0x10, 0x33, 0x80], [0xFF, 0x40, 0x20])


def test_columns(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    draw_synthetic_source([row()], Display(data_name="phantom")).save(tmp_path / "figure5.png")
    assert [panel["title"] for panel in panels] == [
        "CECT", "real NECT", "synthetic NECT", "CECT - real NECT", "CECT - synthetic NECT", "CECT - aligned NECT",
    ]  # fmt: skip
    for panel, image in zip(panels, (row().target, row().source, row().made[NAME]), strict=False):
        assert panel["limits"] == (-100, 200)
        np.testing.assert_array_equal(panel["image"], radiological(image))
    assert ["SYNTHETIC" in panel["texts"] for panel in panels] == [False, False, True, False, False, False]
    assert all("R" in panel["texts"] for panel in panels)
    assert "Data: phantom. Research use only." in " ".join(panels[0]["notes"][-1].split())


def test_with_the_truth_false_change_is_red_whatever_its_sign(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure5.png"
    draw_synthetic_source([row()], Display()).save(path)
    real, synthetic, aligned = (corners(panel_pixels(path, panel)) for panel in panels[3:])
    np.testing.assert_allclose(real, [BLUE, RED, BLACK, RED], atol=6)
    np.testing.assert_allclose(synthetic, [HALF_BLUE, BLACK, BLACK, BLACK], atol=6)
    np.testing.assert_allclose(aligned, [BLUE, BLACK, BLACK, BLACK], atol=6)
    assert [panel["texts"][-1] for panel in panels[3:]] == ["67 % false", "0 % false", "0 % false"]


def test_without_the_truth_the_sign_decides_as_in_the_paper(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    path = tmp_path / "figure5.png"
    draw_synthetic_source([row(aligned_source=None), row()], Display()).save(path)  # one row without is enough
    assert len(panels) == 2 * 5
    real, synthetic = (corners(panel_pixels(path, panel)) for panel in panels[3:5])
    np.testing.assert_allclose(real, [BLUE, BLUE, BLACK, RED], atol=6)
    np.testing.assert_allclose(synthetic, [HALF_BLUE, BLACK, BLACK, BLACK], atol=6)
    assert panels[3]["texts"][-1] == "33 % darker"
    assert "no aligned NECT" in " ".join(panels[0]["notes"][-1].split())


def test_overshoot_is_red_where_it_exceeds_the_truth(tmp_path: Path, panels: list[dict[str, Any]]) -> None:
    synthetic = row().made[NAME].copy()
    synthetic[20:, 15:] = [[-20.0] * 8 + [-90.0] * 7] * 20  # 50 HU are right; 40 and 110 HU too much
    draw_synthetic_source([row(made={NAME: synthetic})], Display()).save(tmp_path / "figure5.png")
    seen = radiological(panels[4]["image"])  # turned back
    assert np.unique(seen[20:, 15:23]).tolist() == [50] and np.unique(seen[20:, 23:]).tolist() == [-110]


@pytest.mark.parametrize(("rows", "message"), [([], "at least one row"), ([row(made={})], "at least one method")])
def test_wrong_rows_are_refused(rows: list[FigureRow], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_synthetic_source(rows, Display())


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(figure: Figure, file: Any, **kwargs: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="No space left"):
        draw_synthetic_source([row()], Display()).save(tmp_path / "figure5.png")
    assert list(tmp_path.iterdir()) == []
