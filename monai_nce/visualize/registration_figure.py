"""Show how far registration brings the source onto the target, and what it leaves (paper Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from .contrast_change import change_bar, describe_change, draw_change
from .panels import Display, FigureRow, Page, method_names

__all__ = ["draw_registration"]


def draw_registration(rows: Sequence[FigureRow], display: Display) -> Page:
    """Draw target, source and registered source side by side, below each what the target has and it lacks.

    The lower line shows target - source in blue and red, as :func:`.contrast_change.split_change` tells them apart.
    Where all rows have the aligned source, red is misalignment, and noise; elsewhere red is where the target is darker,
    which is not contrast medium, and blue is contrast medium or misalignment.

    Args:
        rows: slices with the real target; ``made`` is the source after each registration.
        display: names, window and unit.

    Raises:
        ValueError: without rows, without methods, or when rows have different methods.
    """
    methods = method_names(rows)
    aligned = all(row.aligned_source is not None for row in rows)
    columns = [f"{display.target_name}, fixed", f"{display.source_name}, moving", *methods]
    page = Page(columns, rows, display, f"Lower lines, {describe_change(aligned, display)}", lines=2)
    for r, row in enumerate(rows):
        assert row.target is not None
        page.panel(r, 0, row.target)
        for c, image in enumerate([row.source, *(row.made[method] for method in methods)], start=1):
            page.panel(r, c, image)
            draw_change(page, r, c, image, aligned, line=1)
    change_bar(page, aligned, column=len(columns) - 1, line=1)
    return page
