"""Tests of the picture of a source that is registered to a synthetic one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_nce.visualize import Display, FigureRow, draw_registered_source, radiological


def row(**made: np.ndarray) -> FigureRow:
    """An organ of 60 HU that lies at the right in target and synthetic source, at the left in the source."""
    right = np.zeros((40, 30))
    right[20:] = 60
    names = {"synthetic NECT": right, "registered NECT": right + 15}
    return FigureRow("p0, slice 3", right[::-1].copy(), right + 50, made or names)


def test_differences_are_of_source_and_registered_less_the_synthetic(
    tmp_path: Path, panels: list[dict[str, Any]], panel_pixels: Any
) -> None:
    draw_registered_source([row()], Display(kind="virtual")).save(tmp_path / "a.png")
    assert [panel["title"] for panel in panels] == [
        "CECT", "virtual NECT", "synthetic NECT", "registered NECT", "before: difference", "after: difference",
    ]  # fmt: skip
    before = np.zeros((40, 30))
    before[:20], before[20:] = 60, -60
    np.testing.assert_array_equal(panels[4]["image"], radiological(before))
    np.testing.assert_array_equal(panels[5]["image"], np.full_like(radiological(before), 15))
    assert [panel["texts"][-1] for panel in panels[4:]] == ["60.0 HU", "15.0 HU"]
    assert ["SYNTHETIC" in panel["texts"] for panel in panels] == [False, False, True, False, False, False]


def test_a_row_without_both_images_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        draw_registered_source([row(one=np.zeros((40, 30)))], Display())
