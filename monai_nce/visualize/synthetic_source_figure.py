"""What stage 1 makes of a target, beside the real source: motion gone, contrast left to learn (paper Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np

from .contrast_change import change_bar, describe_change, draw_change
from .panels import Crop, Page, Window

__all__ = ["SyntheticSourceRow", "draw_synthetic_source"]


@dataclass(frozen=True)
class SyntheticSourceRow:
    """One axial slice of one patient; arrays ``(H, W)`` in HU on one grid, axes towards right and anterior.

    Attributes:
        title: such as the patient and the slice.
        target: the real CECT.
        source: the real NECT, as acquired.
        synthetic_source: what the auxiliary network made of the target.
        aligned_source: the source that lies exactly on the target, or None where it is not known.
        pixel_size: height to width of a pixel in mm, along the array's two axes.
    """

    title: str
    target: np.ndarray
    source: np.ndarray
    synthetic_source: np.ndarray
    aligned_source: np.ndarray | None = None
    pixel_size: tuple[float, float] = (1.0, 1.0)


def draw_synthetic_source(
    path: str | PathLike[str],
    rows: Sequence[SyntheticSourceRow],
    source_name: str = "NECT",
    target_name: str = "CECT",
    window_level: float = 50.0,
    window_width: float = 300.0,
    data_name: str = "",
    unit: str = "HU",
) -> None:
    """Draw target, real source, synthetic source and what the target has and each of the two lacks, as a PNG.

    In the last columns correct contrast enhancement is blue and false change is red, as
    :func:`.contrast_change.split_change` tells them apart: by the aligned source where all rows have it, which then
    gives a last column of its own, the truth; elsewhere by the sign, as in the paper.

    Args:
        path: of the PNG; replaced in one step.
        rows: slices from top to bottom.
        source_name: of the source domain.
        target_name: of the target domain.
        window_level: of the display, in ``unit``.
        window_width: of the display, in ``unit``; a third of it gets the last colour of the changes.
        data_name: goes into the note.
        unit: of the images; empty where they have none.

    Raises:
        ValueError: without rows, or when a row's images have different shapes.
    """
    if not rows:
        raise ValueError("expected at least one row but got none")
    window = Window(window_level, window_width, unit)
    aligned = all(row.aligned_source is not None for row in rows)
    kinds = [f"{kind} {source_name}" for kind in ("real", "synthetic", "aligned")]
    columns = [target_name, *kinds[:2], *(f"{target_name} - {kind}" for kind in kinds[: 3 if aligned else 2])]
    crops, sources = [], []
    for row in rows:
        images = {f"real {source_name}": row.source, f"synthetic {source_name}": row.synthetic_source}
        if row.aligned_source is not None and aligned:
            images[f"aligned {source_name}"] = row.aligned_source
        crops.append(Crop(row.title, {target_name: row.target, **images}, row.pixel_size, window))
        sources.append(list(images.values()))
    page = Page(
        columns,
        crops,
        [row.title for row in rows],
        f"{describe_change(aligned, source_name, target_name)} {window.note(data_name)}",
    )
    for r, row in enumerate(rows):
        for c, (image, corner) in enumerate(
            ((row.target, ""), (row.source, ""), (row.synthetic_source, "SYNTHETIC")),
        ):
            page.panel(r, c, image, "gray", window.low, window.high, corner=corner)
        for c, source in enumerate(sources[r], start=3):
            draw_change(page, r, c, row.target, source, row.aligned_source if aligned else None, window)
    change_bar(page, aligned, window, column=len(columns))
    page.save(path)
