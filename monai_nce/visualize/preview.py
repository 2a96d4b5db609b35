"""Draw source, synthetic, real target and their difference side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from monai.data import MetaTensor
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, io_orientation

from .panels import DIFFERENCE_COLOURS, Display, FigureRow, Page, method_names

__all__ = ["axial_slices", "draw_preview"]

LINE = 0.32  # inches, of the table


def axial_slices(volume: MetaTensor) -> tuple[np.ndarray, tuple[float, float]]:
    """Turn a volume's axes towards right, anterior and superior, whatever order it came in.

    Args:
        volume: ``(1, H, W, D)`` with its affine in RAS mm.

    Returns:
        ``(H, W, D)``, a view where the volume is in the CPU's memory, and the pixel size in mm along the first two
        axes.
    """
    affine = volume.affine.numpy()
    turn = io_orientation(affine)
    upright = apply_orientation(volume.detach().cpu().as_tensor()[0].numpy(), turn)
    height, width, _ = voxel_sizes(affine)[np.argsort(turn[:, 0])]
    return upright, (float(height), float(width))


def draw_preview(
    rows: Sequence[FigureRow], display: Display, note: str = "", table: Sequence[Sequence[str]] = ()
) -> Page:
    """Draw slices side by side, with a table under them.

    The difference is that from the real target; from the source where a row has no target.

    Args:
        rows: slices; ``made`` is the synthetic image, by its column's name.
        display: names, window and unit.
        note: for the bottom.
        table: its lines, the first one the head.

    Raises:
        ValueError: without rows, or without a synthetic image.
    """
    (synthetic,) = method_names(rows)
    real = all(row.target is not None for row in rows)
    columns = [display.source_name, synthetic, *([f"real {display.target_name}"] if real else [])]
    columns.append(f"synthetic - {'real' if real else display.source_name}")
    page = Page(columns, rows, display, note, below=LINE * len(table) + (0.1 if table else 0))
    last = len(columns) - 1
    for r, row in enumerate(rows):
        page.panel(r, 0, row.source)
        page.panel(r, 1, row.made[synthetic], corner="SYNTHETIC")
        if real:
            page.panel(r, 2, np.asarray(row.target))
        difference = display.difference(row.made[synthetic], np.asarray(row.target) if real else row.source)
        page.panel(r, last, difference, DIFFERENCE_COLOURS, corner="SYNTHETIC")
    page.bar(DIFFERENCE_COLOURS, last)
    if table:
        _draw_table(page, table)
    return page


def _draw_table(page: Page, lines: Sequence[Sequence[str]]) -> None:
    from matplotlib.transforms import Bbox

    width, height = page.figure.get_size_inches()
    axes = page.figure.add_axes((0.03, page.bottom / height, 0.94, LINE * len(lines) / height))
    axes.set_axis_off()
    table = axes.table([list(line) for line in lines], cellLoc="center", bbox=Bbox.unit())
    table.auto_set_font_size(False)
    # a character is about 0.6 of its size wide
    longest = sum(max(len(cell) for cell in column) + 2 for column in zip(*lines, strict=True))
    table.set_fontsize(min(7.5, 72 * 0.94 * width / (0.6 * longest)))
    table.auto_set_column_width(range(len(lines[0])))
    for cell in table.get_celld().values():
        cell.set(facecolor="black", edgecolor="0.35")
        cell.get_text().set_color("white")
