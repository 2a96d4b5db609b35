"""Compare the synthetic source of stage 1 with the real one: motion gone, contrast left to learn (paper Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence

from .contrast_change import change_bar, describe_change, draw_change
from .panels import Display, FigureRow, Page, method_names

__all__ = ["draw_synthetic_source"]


def draw_synthetic_source(rows: Sequence[FigureRow], display: Display) -> Page:
    """Draw target, real source, synthetic source and what the target has and each of the two lacks.

    In the last columns correct contrast enhancement is blue and false change is red, as
    :func:`.contrast_change.split_change` tells them apart: by the aligned source where all rows have it, which then
    gives a last column of its own, the truth; elsewhere by the sign, as in the paper.

    Args:
        rows: slices with the real target; ``made`` is the synthetic source, by its column's name.
        display: names, window and unit.

    Raises:
        ValueError: without rows, or without a synthetic source.
    """
    (synthetic,) = method_names(rows)
    aligned = all(row.aligned_source is not None for row in rows)
    kinds = [f"real {display.source_name}", synthetic] + [f"aligned {display.source_name}"] * aligned
    target = display.target_name
    columns = [target, *kinds[:2], *(f"{target} - {kind}" for kind in kinds)]
    page = Page(columns, rows, display, describe_change(aligned, display))
    for r, row in enumerate(rows):
        assert row.target is not None
        page.panel(r, 0, row.target)
        page.panel(r, 1, row.source)
        page.panel(r, 2, row.made[synthetic], corner="SYNTHETIC")
        sources = [row.source, row.made[synthetic], row.aligned_source]
        for c, source in enumerate(sources[: len(kinds)], start=3):
            assert source is not None
            draw_change(page, r, c, source, aligned)
    change_bar(page, aligned, column=len(columns) - 1)
    return page
