"""Each method's synthetic target beside the real one, and where they differ (paper Figs. 6 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from .panels import DIFFERENCE_COLOURS, Crop, Page, Window, column_names

__all__ = ["ComparisonRow", "draw_comparison"]

IDENTITY = "identity"


@dataclass(frozen=True)
class ComparisonRow:
    """One axial slice of one patient; arrays ``(H, W)`` in HU on one grid, axes towards right and anterior.

    Attributes:
        title: such as the patient and the slice.
        source: the image that the networks were given.
        synthetic: what each made of it, by the method's name; ``identity`` is the source left as it is.
        target: the real image.
        pixel_size: height to width of a pixel in mm, along the array's two axes.
    """

    title: str
    source: np.ndarray
    synthetic: Mapping[str, np.ndarray]
    target: np.ndarray
    pixel_size: tuple[float, float] = (1.0, 1.0)


def draw_comparison(
    path: str | PathLike[str],
    rows: Sequence[ComparisonRow],
    source_name: str = "NECT",
    target_name: str = "CECT",
    window_level: float = 50.0,
    window_width: float = 300.0,
    data_name: str = "",
    unit: str = "HU",
) -> None:
    """Draw source, each method's synthetic target and the real target side by side as a PNG, differences below.

    The lower line shows the image above less the real target, red where it is brighter, with the MSE on [-1, 1] of the
    whole slice. The source has it too, as the error that a method starts from, unless ``identity`` is among the
    methods.

    Args:
        path: of the PNG; replaced in one step.
        rows: slices from top to bottom; the first one's methods give the order of the columns.
        source_name: of the source domain.
        target_name: of the target domain.
        window_level: of the display, in ``unit``; 50 HU for CT, 500 for IXI.
        window_width: of the display, in ``unit``; 300 HU for CT, 1000 for IXI. A third of it gets the last colour of
            the differences.
        data_name: goes into the note.
        unit: of the images; empty where they have none.

    Raises:
        ValueError: without rows, without methods, when rows have different methods, or a row's images different shapes.
    """
    methods = column_names([row.synthetic for row in rows])
    window = Window(window_level, window_width, unit)
    crops = [
        Crop(
            row.title,
            {source_name: row.source, **row.synthetic, f"real {target_name}": row.target},
            row.pixel_size,
            window,
        )
        for row in rows
    ]
    page = Page(
        [source_name, *methods, f"real {target_name}"],
        crops,
        [row.title for row in rows],
        f"Lower lines: the image above - real {target_name}, with the MSE on [-1, 1] of the slice; "
        f"red is brighter than the real one. {window.note(data_name)}",
        lines=2,
        right=0.2,
    )
    limit = window_width / 3
    for r, row in enumerate(rows):
        images = [row.source, *(row.synthetic[method] for method in methods)]
        for c, (name, image) in enumerate(zip(["", *methods], images, strict=True)):
            corner = "" if name in ("", IDENTITY) else "SYNTHETIC"
            page.panel(r, c, image, "gray", window.low, window.high, corner=corner)
            if name or IDENTITY not in methods:
                difference = window.difference(image, row.target)
                mse = float(np.mean((difference / (window_width / 2)) ** 2))
                page.panel(r, c, difference, DIFFERENCE_COLOURS, -limit, limit, line=1, corner=f"MSE {mse:.4f}")
        page.panel(r, len(images), row.target, "gray", window.low, window.high)
    # below the real target, which has no difference of its own
    page.bar(DIFFERENCE_COLOURS, limit, unit, column=len(methods) + 1, line=1)
    page.save(path)
