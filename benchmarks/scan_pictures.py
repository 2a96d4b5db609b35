"""Draw real scans: input, synthetic and their difference; the regions that are measured; pairs of slices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from nibabel.affines import voxel_sizes

from monai_nce.visualize import Display, FigureRow, draw_comparison, draw_preview, radiological
from monai_nce.visualize.panels import Page

__all__ = ["draw_pair", "draw_regions", "draw_scan"]

ROWS = 6
LEGEND = 1.4  # inches, for the regions' names
COLOURS = [  # fmt: skip
    "#ff5050",
    "#50c8ff",
    "#ffe050",
    "#60e060",
    "#ff90ff",
    "#ffa040",
    "#a0a0ff",
    "#40ffd0",
    "#ffffff",
    "#c08040",
    "#80c080",
    "#ff8080",
    "#8080ff",
    "#c0c000",
    "#00c0c0",
    "#c000c0",
    "#c0c0c0",
    "#ffc0c0",
]


def shown_slices(depth: int, rows: int = ROWS) -> list[int]:
    """Choose slices at equal distances, from the head down."""
    return sorted({int((i + 0.5) * depth / rows) for i in range(rows)}, reverse=True)


def telling_slices(regions: Mapping[str, np.ndarray], rows: int = ROWS) -> list[int]:
    """Choose slices that show each region, those with most of them first; returned from the head down."""
    shows = np.stack([mask.any(axis=(0, 1)) for mask in regions.values()])
    chosen: list[int] = []
    left = np.ones(len(shows), dtype=bool)
    while len(chosen) < min(rows, shows.shape[1]):
        counts = shows[left].sum(axis=0)
        counts[chosen] = -1
        chosen.append(int(counts.argmax()))
        left &= ~shows[:, chosen[-1]]
        left |= not left.any()  # all are shown: once more
    return sorted(chosen, reverse=True)


def draw_scan(hu: np.ndarray, synthetic: np.ndarray, affine: np.ndarray, name: str, note: str) -> Page:
    """Draw slices of a scan, its synthetic CECT and the difference in HU.

    Args:
        hu, synthetic: (H, W, D), axes towards right, anterior and superior.
        affine: 4×4 in mm.
        name: of the scan.
        note: for the bottom, such as what weights these are.
    """
    pixel = _pixel_size(affine)
    rows = [
        FigureRow(_title(affine, k), hu[..., k], made={"synthetic CECT": synthetic[..., k]}, pixel_size=pixel)
        for k in shown_slices(hu.shape[2])
    ]
    return draw_preview(rows, Display(data_name=name), f"SYNTHETIC. {note}")


def draw_regions(hu: np.ndarray, affine: np.ndarray, regions: Mapping[str, np.ndarray], name: str) -> Page:
    """Draw slices of a scan that show its regions, beside them the outlines, each region in a colour of its own.

    Args:
        hu: (H, W, D), axes towards right, anterior and superior.
        affine: 4×4 in mm.
        regions: masks by name.
        name: of the scan.
    """
    shown = telling_slices(regions)
    rows = [FigureRow(_title(affine, k), hu[..., k], pixel_size=_pixel_size(affine)) for k in shown]
    page = Page(["scan", "regions"], rows, Display(data_name=name), right=LEGEND)
    width, height = page.figure.get_size_inches()
    for number, region in enumerate(regions):
        place = 1 - (LEGEND - 0.1) / width, 1 - (0.5 + 0.16 * number) / height
        page.figure.text(*place, region, color=COLOURS[number % len(COLOURS)], fontsize=7)
    for row, k in enumerate(shown):
        for column in range(2):
            page.panel(row, column, hu[..., k])
        axes = page.figure.axes[-1]
        for number, mask in enumerate(regions.values()):
            plane = radiological(mask[..., k][page.boxes[row]])
            if plane.any() and not plane.all():
                axes.contour(plane.astype(float), [0.5], colors=COLOURS[number % len(COLOURS)], linewidths=0.6)
    return page


def draw_pair(images: Mapping[str, np.ndarray], name: str, enhanced: bool) -> Page:
    """Draw the registered slice, its synthetic CECT, the slice of the other day, and their differences.

    Args:
        images: as :func:`~benchmarks.slice_pairs.measure_pair` gives them.
        name: of the pair.
        enhanced: whether the slice of the other day is with contrast medium.
    """
    made = {f"{method} CECT": image for method, image in images.items() if method not in ("fixed", "identity")}
    target = "CECT" if enhanced else "NECT, other day"
    row = FigureRow(name, images["identity"], images["fixed"], made or {"identity": images["identity"]})
    return draw_comparison([row], Display(target_name=target, data_name=name))


def _title(affine: np.ndarray, k: int) -> str:
    return f"z = {affine[2, 3] + affine[2, 2] * k:.0f} mm"


def _pixel_size(affine: np.ndarray) -> tuple[float, float]:
    height, width = voxel_sizes(affine)[:2]
    return float(height), float(width)
