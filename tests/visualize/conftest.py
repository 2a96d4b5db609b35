"""What a figure showed: its panels before it was saved, and their pixels in the PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image


def _heading(figure: Figure, axes: Any) -> str:
    """The column's title: the topmost text above the panel."""
    x0, _, x1, _ = axes.get_position().extents
    above = [text for text in figure.texts if x0 < text.get_position()[0] < x1]
    return max(above, key=lambda text: text.get_position()[1]).get_text() if above else ""


@pytest.fixture
def panels(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each panel showed."""
    shown: list[dict[str, Any]] = []
    savefig = Figure.savefig

    def spy(figure: Figure, *args: Any, **kwargs: Any) -> None:
        for axes in figure.axes:
            for image in axes.images:
                box = axes.get_window_extent()
                shown.append(
                    {
                        "image": np.asarray(image.get_array()),
                        "limits": image.get_clim(),
                        "title": axes.get_title() or _heading(figure, axes),
                        "texts": [text.get_text() for text in axes.texts],
                        "box": (box.x0, box.y0, box.x1, box.y1),
                        "size": figure.bbox.size,
                        "notes": [text.get_text() for text in figure.texts],
                        "bar": [a.get_ylabel() for a in figure.axes if not a.images],
                    }
                )
        savefig(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", spy)
    return shown


@pytest.fixture
def panel_pixels() -> Callable[[Path, dict[str, Any]], np.ndarray]:
    """A panel cut out of the PNG, ``(rows, columns, 3)`` from 0 to 255."""

    def cut(path: Path, panel: dict[str, Any]) -> np.ndarray:
        picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
        scale = picture.shape[1] / panel["size"][0]
        x0, y0, x1, y1 = (round(v * scale) for v in panel["box"])
        return picture[picture.shape[0] - y1 : picture.shape[0] - y0, x0:x1]

    return cut


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every picture end half-written, with an OSError."""

    def half(figure: Figure, file: Any, **kwargs: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", half)
