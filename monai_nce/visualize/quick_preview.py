"""The picture beside each result of an inference, drawn in a tenth of the time that a Matplotlib figure takes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .panels import DIFFERENCE_COLOURS, Window, radiological
from .preview import DIFFERENCE_RANGE_HU, PreviewRow

__all__ = ["draw_quick_preview"]

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

PANEL, GAP = 286, 4  # in pixels, as all lengths here
LEFT, RIGHT, TOP, BOTTOM = 8, 74, 32, 30
WHITE, GREY, GOLD = (255, 255, 255), (190, 190, 190), (255, 215, 0)


def draw_quick_preview(
    rows: Sequence[PreviewRow],
    source_name: str = "NECT",
    target_name: str = "CECT",
    window_level: float = 50.0,
    window_width: float = 300.0,
    note: str = "SYNTHETIC. Research use only.",
) -> bytes:
    """Draw slices of the source, the synthetic image and their difference side by side.

    Args:
        rows: slices from top to bottom; their targets are not shown.
        source_name: of the source domain.
        target_name: of the target domain.
        window_level: of the display, in HU.
        window_width: of the display, in HU.
        note: line at the bottom.

    Returns:
        The PNG file.

    Raises:
        ValueError: without rows.
    """
    if not rows:
        raise ValueError("expected at least one row but got none")
    window = Window(window_level, window_width)
    heights = [_height(row) for row in rows]
    width = LEFT + 3 * PANEL + 2 * GAP + RIGHT
    page = Image.new("RGB", (width, TOP + sum(heights) + GAP * (len(rows) - 1) + BOTTOM))
    pen = ImageDraw.Draw(page)
    large, small = ImageFont.load_default(15), ImageFont.load_default(11)
    for column, title in enumerate((source_name, f"synthetic {target_name}", f"synthetic - {source_name}")):
        pen.text((_left(column) + PANEL // 2, TOP - 6), title, WHITE, large, anchor="ms")
    top = TOP
    for row, height in zip(rows, heights, strict=True):
        difference = window.difference(row.synthetic, row.source)
        page.paste(_grey(row.source, window, height), (_left(0), top))
        page.paste(_grey(row.synthetic, window, height), (_left(1), top))
        page.paste(_coloured(_scaled(difference, height)), (_left(2), top))
        pen.text((_left(0) + 4, top + 3), row.title, WHITE, small)
        for column in range(3):
            pen.text((_left(column) + 3, top + height // 2), "R", GOLD, small, anchor="lm")
        for column in (1, 2):  # so that it is still there when a panel is cut out
            pen.text((_left(column) + PANEL - 4, top + height - 4), "SYNTHETIC", GOLD, small, anchor="rs")
        top += height + GAP
    _bar(page, pen, small, TOP, heights[0])
    pen.text((width // 2, page.height - 10), f"{window} {note}", GREY, small, anchor="ms")
    file = io.BytesIO()
    page.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _left(column: int) -> int:
    return LEFT + column * (PANEL + GAP)


def _height(row: PreviewRow) -> int:
    along, up = (n * mm for n, mm in zip(np.shape(row.source), row.pixel_size, strict=True))
    return max(round(PANEL * up / along), 1)


def _scaled(axial: np.ndarray, height: int) -> np.ndarray:
    values = np.ascontiguousarray(radiological(axial), dtype=np.float32)
    return np.asarray(Image.fromarray(values).resize((PANEL, height), Image.Resampling.BILINEAR))


def _grey(axial: np.ndarray, window: Window, height: int) -> Image.Image:
    shown = (_scaled(axial, height) - window.low) * (255 / window.width)
    return Image.fromarray(np.clip(np.rint(shown), 0, 255).astype(np.uint8))


def _coloured(difference: np.ndarray) -> Image.Image:
    share = np.clip(difference / DIFFERENCE_RANGE_HU, -1, 1) / 2 + 0.5
    return Image.fromarray(DIFFERENCE_COLOURS(share, bytes=True)[..., :3])


def _bar(page: Image.Image, pen: ImageDraw.ImageDraw, font: Font, top: int, height: int) -> None:
    """The colours of the difference, from the highest down, beside the first row."""
    values = np.linspace(DIFFERENCE_RANGE_HU, -DIFFERENCE_RANGE_HU, height)
    left = _left(2) + PANEL + 8
    page.paste(_coloured(np.repeat(values[:, None], 10, axis=1)), (left, top))
    for share, anchor in ((0.0, "la"), (0.5, "lm"), (1.0, "ls")):
        value = DIFFERENCE_RANGE_HU * (1 - 2 * share)
        text = f"{value:+g} HU" if value else "0"
        pen.text((left + 13, top + round(share * height)), text, GREY, font, anchor=anchor)
