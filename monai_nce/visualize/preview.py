"""The picture that people look at first: source, synthetic, real target and their difference, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from monai.data import MetaTensor
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, io_orientation

from .panels import (
    DIFFERENCE_COLOURS,
    Window,
    colour_bar,
    dark_figure,
    draw_panel,
    label_corner,
    save_figure,
)

__all__ = ["PreviewRow", "axial_slices", "draw_preview"]

DIFFERENCE_RANGE_HU = 100.0
PANEL_INCHES = 2.6


def axial_slices(volume: MetaTensor) -> tuple[np.ndarray, tuple[float, float]]:
    """A volume with its axes towards right, anterior and superior, whatever order it came in.

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


@dataclass(frozen=True)
class PreviewRow:
    """One axial slice of one patient; arrays ``(H, W)`` in HU, axes towards right and anterior.

    Attributes:
        title: such as the patient and the slice.
        source: the image that the network was given.
        synthetic: what it made of it.
        target: the real image, or None where there is none.
        pixel_size: height to width of a pixel in mm, along the array's two axes.
    """

    title: str
    source: np.ndarray
    synthetic: np.ndarray
    target: np.ndarray | None = None
    pixel_size: tuple[float, float] = (1.0, 1.0)


def draw_preview(
    path: str | PathLike[str],
    rows: Sequence[PreviewRow],
    metrics: Mapping[str, Mapping[str, Any]] | None = None,
    source_name: str = "NECT",
    target_name: str = "CECT",
    window_level: float = 50.0,
    window_width: float = 300.0,
    note: str = "Research use only.",
) -> None:
    """Draw slices side by side, with a metric table under them, as a PNG.

    Args:
        path: of the PNG; replaced in one step.
        rows: slices from top to bottom.
        metrics: per method and metric a mapping with ``mean``, as ``metrics.json`` holds it.
        source_name: of the source domain.
        target_name: of the target domain.
        window_level: of the display, in HU.
        window_width: of the display, in HU.
        note: line at the bottom.

    Raises:
        ValueError: without rows.
    """
    if not rows:
        raise ValueError("expected at least one row but got none")
    has_target = all(row.target is not None for row in rows)
    columns = [source_name, f"synthetic {target_name}"]
    columns += [f"real {target_name}", "synthetic - real"] if has_target else [f"synthetic - {source_name}"]
    table_inches = 0.34 * (len(metrics) + 1) if metrics else 0.0
    size = (PANEL_INCHES * len(columns) + 0.9, PANEL_INCHES * len(rows) + table_inches + 0.9)
    figure = dark_figure(*size)
    bottom = (table_inches + 0.45) / size[1]
    grid = figure.add_gridspec(
        len(rows), len(columns), left=0.035, right=1 - 0.75 / size[0], top=1 - 0.4 / size[1], bottom=bottom,
        wspace=0.03, hspace=0.03,
    )  # fmt: skip
    window = Window(window_level, window_width)
    difference_axes = []
    for r, row in enumerate(rows):
        reference = row.source if row.target is None else row.target
        difference = window.difference(row.synthetic, reference)
        images = [row.source, row.synthetic] + ([row.target] if row.target is not None else []) + [difference]
        for c, (name, image) in enumerate(zip(columns, images, strict=True)):
            axes = figure.add_subplot(grid[r, c])
            last = c == len(columns) - 1
            if last:
                limits = -DIFFERENCE_RANGE_HU, DIFFERENCE_RANGE_HU
                shown = draw_panel(axes, image, row.pixel_size, DIFFERENCE_COLOURS, *limits)
            else:
                shown = draw_panel(axes, image, row.pixel_size, "gray", window.low, window.high)
            if r == 0:
                axes.set_title(name, color="white", fontsize=11)
            if c == 0:
                axes.set_ylabel(row.title, color="white", fontsize=8)
            if c == 1:
                label_corner(axes, "SYNTHETIC")
            if last:
                difference_axes.append((axes, shown))
    axes, shown = difference_axes[-1]
    box = axes.get_position()
    colour_bar(figure, shown, (box.x1 + 0.008, box.y0, 0.012, box.height), "HU")
    if metrics:
        _draw_table(figure, metrics, table_inches / size[1], 0.4 / size[1])
    figure.text(
        0.5, 0.12 / size[1], f"{window} {note}",
        color="0.75", fontsize=8, ha="center",
    )  # fmt: skip
    save_figure(figure, path)


TABLE_COLUMNS = {
    "mse": ("MSE [-1, 1]", "{:.4f}"),
    "mse_hu2": ("MSE HU²", "{:.1f}"),
    "mae_hu": ("MAE HU", "{:.2f}"),
    "psnr": ("PSNR dB", "{:.2f}"),
    "ms_ssim": ("MS-SSIM", "{:.4f}"),
}


def _cell(value: Mapping[str, Any], form: str) -> str:
    if value.get("low") is None:
        return form.format(value["mean"])
    return f"{form.format(value['mean'])} [{form.format(value['low'])}, {form.format(value['high'])}]"


def _draw_table(figure: Figure, metrics: Mapping[str, Mapping[str, Any]], height: float, bottom: float) -> None:
    axes = figure.add_axes((0.03, bottom, 0.94, height))
    axes.set_axis_off()
    table = axes.table(
        cellText=[
            [method, *(_cell(values[name], form) for name, (_, form) in TABLE_COLUMNS.items())]
            for method, values in metrics.items()
        ],
        colLabels=["method", *(title for title, _ in TABLE_COLUMNS.values())],
        loc="center",
        cellLoc="center",
        bbox=Bbox.unit(),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for cell in table.get_celld().values():
        cell.set_facecolor("black")
        cell.set_edgecolor("0.35")
        cell.get_text().set_color("white")
