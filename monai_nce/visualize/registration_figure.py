"""How far registration brings the source onto the target, and what it leaves (paper Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from .contrast_change import change_bar, describe_change, draw_change
from .panels import Crop, Page, Window, column_names

__all__ = ["RegistrationRow", "draw_registration"]


@dataclass(frozen=True)
class RegistrationRow:
    """One axial slice of one patient; arrays ``(H, W)`` in HU on one grid, axes towards right and anterior.

    Attributes:
        title: such as the patient and the slice.
        target: the fixed image, CECT.
        source: the moving image, NECT, as acquired.
        registered: the moving image after each method, by the method's name.
        aligned_source: the source that lies exactly on the target, or None where it is not known.
        pixel_size: height to width of a pixel in mm, along the array's two axes.
    """

    title: str
    target: np.ndarray
    source: np.ndarray
    registered: Mapping[str, np.ndarray]
    aligned_source: np.ndarray | None = None
    pixel_size: tuple[float, float] = (1.0, 1.0)


def draw_registration(
    path: str | PathLike[str],
    rows: Sequence[RegistrationRow],
    source_name: str = "NECT",
    target_name: str = "CECT",
    window_level: float = 50.0,
    window_width: float = 300.0,
    data_name: str = "",
    unit: str = "HU",
) -> None:
    """Draw target, source and registered source side by side as a PNG, below each what the target has and it lacks.

    The lower line shows target - source in blue and red, as :func:`.contrast_change.split_change` tells them apart.
    Where all rows have the aligned source, red is misalignment, and noise; elsewhere red is where the target is darker,
    which is not contrast medium, and blue is contrast medium or misalignment.

    Args:
        path: of the PNG; replaced in one step.
        rows: slices from top to bottom.
        source_name: of the source domain.
        target_name: of the target domain.
        window_level: of the display, in ``unit``.
        window_width: of the display, in ``unit``; a third of it gets the last colour of the lower line.
        data_name: goes into the note.
        unit: of the images; empty where they have none.

    Raises:
        ValueError: without rows, without methods, when rows have different methods, or a row's images different shapes.
    """
    methods = column_names([row.registered for row in rows])
    window = Window(window_level, window_width, unit)
    aligned = all(row.aligned_source is not None for row in rows)
    crops = [
        Crop(
            row.title,
            {target_name: row.target, source_name: row.source, **row.registered}
            | ({} if row.aligned_source is None else {"aligned": row.aligned_source}),
            row.pixel_size,
            window,
        )
        for row in rows
    ]
    page = Page(
        [f"{target_name}, fixed", f"{source_name}, moving", *methods],
        crops,
        [row.title for row in rows],
        f"Lower lines, {describe_change(aligned, source_name, target_name)} {window.note(data_name)}",
        lines=2,
    )
    for r, row in enumerate(rows):
        page.panel(r, 0, row.target, "gray", window.low, window.high)
        for c, image in enumerate([row.source, *(row.registered[method] for method in methods)], start=1):
            page.panel(r, c, image, "gray", window.low, window.high)
            draw_change(page, r, c, row.target, image, row.aligned_source if aligned else None, window, line=1)
    change_bar(page, aligned, window, column=len(methods) + 2, line=1)
    page.save(path)
