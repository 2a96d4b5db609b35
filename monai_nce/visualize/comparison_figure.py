"""Compare each method's synthetic target with the real one (paper Figs. 6 and 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .panels import DIFFERENCE_COLOURS, Display, FigureRow, Page, method_names

__all__ = ["draw_comparison"]

IDENTITY = "identity"


def draw_comparison(rows: Sequence[FigureRow], display: Display) -> Page:
    """Draw source, each method's synthetic target and the real target side by side, differences below.

    The lower line shows the image above less the real target, red where it is brighter, with the MSE on [-1, 1] of the
    whole slice. The source has it too, as the error that a method starts from, unless ``identity`` is among the
    methods.

    Args:
        rows: slices with the real target; the first one's methods give the order of the columns, ``identity`` being
            the source left as it is.
        display: names, window and unit.

    Raises:
        ValueError: without rows, without methods, or when rows have different methods.
    """
    methods = method_names(rows)
    real = f"{display.kind} {display.target_name}"
    note = f"Lower lines: the image above - {real}, with the MSE on [-1, 1] of the slice; red is brighter than it"
    page = Page([display.source_name, *methods, real], rows, display, f"{note}.", lines=2, right=0.2)
    for r, row in enumerate(rows):
        assert row.target is not None
        for c, (name, image) in enumerate({"": row.source, **{name: row.made[name] for name in methods}}.items()):
            page.panel(r, c, image, corner="" if name in ("", IDENTITY) else "SYNTHETIC")
            if name or IDENTITY not in methods:
                difference = display.difference(image, row.target)
                mse = float(np.mean((difference / (display.window_width / 2)) ** 2))
                page.panel(r, c, difference, DIFFERENCE_COLOURS, line=1, corner=f"MSE {mse:.4f}")
        page.panel(r, len(methods) + 1, row.target)
    # below the real target, which has no difference of its own
    page.bar(DIFFERENCE_COLOURS, len(methods) + 1, line=1, x=0.03)
    return page
