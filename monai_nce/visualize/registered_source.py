"""Show how the real source comes to lie on the target by way of the synthetic source (the paper's last paragraph)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .panels import DIFFERENCE_COLOURS, Display, FigureRow, Page, method_names

__all__ = ["draw_registered_source"]


def draw_registered_source(rows: Sequence[FigureRow], display: Display) -> Page:
    """Draw target, source, synthetic and registered source, and the difference of the last two before and after.

    The differences are within one contrast, so that all that is left in them is misalignment, noise, and what the
    auxiliary network got wrong; their corner says their mean absolute value over the slice.

    Args:
        rows: slices with the real target; ``made`` is the synthetic source and then the registered one, by their
            columns' names.
        display: names, window and unit.

    Raises:
        ValueError: without rows, or without both images.
    """
    synthetic, registered = method_names(rows)
    source = f"{display.kind} {display.source_name}"
    columns = [display.target_name, source, synthetic, registered]
    note = (
        f"Red is where the {source} is brighter than the {synthetic}. With the mean absolute difference of the slice."
    )
    page = Page([*columns, "before: difference", "after: difference"], rows, display, note)
    for r, row in enumerate(rows):
        assert row.target is not None
        page.panel(r, 0, row.target)
        page.panel(r, 1, row.source)
        page.panel(r, 2, row.made[synthetic], corner="SYNTHETIC")
        page.panel(r, 3, row.made[registered])
        for c, image in enumerate((row.source, row.made[registered]), start=4):
            difference = display.difference(image, row.made[synthetic])
            corner = f"{np.abs(difference).mean():.1f} {display.unit}".rstrip()
            page.panel(r, c, difference, DIFFERENCE_COLOURS, corner=corner)
    page.bar(DIFFERENCE_COLOURS, 5)
    return page
