"""Colour what a target has and a source lacks, blue where it is correct and red where false (paper Figs. 2 and 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .panels import DIFFERENCE_COLOURS, Display, FigureRow, Page, method_names

__all__ = ["CHANGE_COLOURS", "draw_registration", "draw_synthetic_source", "split_change"]

CHANGE_COLOURS = DIFFERENCE_COLOURS[::-1]  # from false change, red, over none, black, to correct, blue


def split_change(
    target: np.ndarray, source: np.ndarray, aligned_source: np.ndarray | None, display: Display
) -> tuple[np.ndarray, np.ndarray]:
    """Split ``target - source`` into correct enhancement and false change; both add up to it.

    With an aligned source, the truth, correct is what lies between no change and the true change
    ``target - aligned_source``, and false is the rest: change of the wrong sign, where there is none in truth, or
    beyond the true one. Without it only the sign can judge: contrast medium makes brighter, so brighter in the target
    counts as correct, although motion does that too, and darker as false.

    Args:
        target: with contrast medium, ``(H, W)``.
        source: without, real or synthetic.
        aligned_source: the source that lies exactly on the target, or None where it is not known.
        display: window within which they are compared, whose unit the parts have.
    """
    change = display.difference(target, source)
    truth = np.full_like(change, np.inf) if aligned_source is None else display.difference(target, aligned_source)
    correct = np.clip(change, np.minimum(truth, 0), np.maximum(truth, 0))
    return correct, change - correct


def draw_registration(rows: Sequence[FigureRow], display: Display) -> Page:
    """Draw target, source and registered source side by side, below each what the target has and it lacks (Fig. 2).

    The lower line shows target - source in blue and red, as :func:`split_change` tells them apart. Where all rows have
    the aligned source, red is misalignment, and noise; elsewhere red is where the target is darker, which is not
    contrast medium, and blue is contrast medium or misalignment.

    Args:
        rows: slices with the real target; ``made`` is the source after each registration.
        display: names, window and unit.

    Raises:
        ValueError: without rows, without methods, or when rows have different methods.
    """
    methods, aligned = method_names(rows), _all_aligned(rows)
    columns = [f"{display.target_name}, fixed", f"{display.source_name}, moving", *methods]
    page = Page(columns, rows, display, f"Lower lines, {_explain(aligned, display)}", lines=2)
    for r, row in enumerate(rows):
        assert row.target is not None
        page.panel(r, 0, row.target)
        for c, image in enumerate([row.source, *(row.made[method] for method in methods)], start=1):
            page.panel(r, c, image)
            _draw_change(page, r, c, image, aligned, line=1)
    _draw_bar(page, aligned, column=len(columns) - 1, line=1)
    return page


def draw_synthetic_source(rows: Sequence[FigureRow], display: Display) -> Page:
    """Draw target, real source, synthetic source and what the target has and each of the two lacks (Fig. 5).

    In the last columns correct contrast enhancement is blue and false change is red, as :func:`split_change` tells them
    apart: by the aligned source where all rows have it, which then gives a last column of its own, the truth; elsewhere
    by the sign, as in the paper.

    Args:
        rows: slices with the real target; ``made`` is the synthetic source, by its column's name.
        display: names, window and unit.

    Raises:
        ValueError: without rows, or without a synthetic source.
    """
    (synthetic,), aligned = method_names(rows), _all_aligned(rows)
    kinds = [f"{display.kind} {display.source_name}", synthetic] + [f"aligned {display.source_name}"] * aligned
    target = display.target_name
    columns = [target, *kinds[:2], *(f"{target} - {kind}" for kind in kinds)]
    page = Page(columns, rows, display, _explain(aligned, display))
    for r, row in enumerate(rows):
        assert row.target is not None
        page.panel(r, 0, row.target)
        page.panel(r, 1, row.source)
        page.panel(r, 2, row.made[synthetic], corner="SYNTHETIC")
        sources = [row.source, row.made[synthetic], row.aligned_source]
        for c, source in enumerate(sources[: len(kinds)], start=3):
            assert source is not None
            _draw_change(page, r, c, source, aligned)
    _draw_bar(page, aligned, column=len(columns) - 1)
    return page


def _all_aligned(rows: Sequence[FigureRow]) -> bool:
    return all(row.aligned_source is not None for row in rows)


def _words(aligned: bool) -> tuple[str, str]:
    """Name red and blue."""
    return ("false", "correct") if aligned else ("darker", "brighter")


def _draw_change(page: Page, row: int, column: int, source: np.ndarray, aligned: bool, line: int = 0) -> None:
    """Show the row's ``target - source``, each pixel by the larger of its two parts, and the share of the false one."""
    images = page.rows[row]
    assert images.target is not None
    parts = split_change(images.target, source, images.aligned_source if aligned else None, page.display)
    correct, false = (np.abs(part) for part in parts)
    share = 100 * false.sum() / max(float((correct + false).sum()), 1e-9)
    corner = f"{share:.0f} % {_words(aligned)[0]}"
    page.panel(row, column, np.where(false > correct, -false, correct), CHANGE_COLOURS, line, corner)


def _explain(aligned: bool, display: Display) -> str:
    """Explain the two colours, for the figure's note."""
    source, target = display.source_name, display.target_name
    if aligned:
        meaning = f"blue is change that {target} - aligned {source} has too; red is false change, which it has not"
    else:
        meaning = (
            f"with no aligned {source}, blue is where {target} is brighter, by contrast medium or motion; red is where "
            "it is darker, which contrast medium cannot do"
        )
    return f"{target} - {source}: {meaning}, with its share of all change."


def _draw_bar(page: Page, aligned: bool, column: int, line: int = 0) -> None:
    red, blue = _words(aligned)
    label = f"{red} \N{LEFTWARDS ARROW} {page.display.unit} \N{RIGHTWARDS ARROW} {blue}"
    ticks = np.linspace(-page.display.limit, page.display.limit, 5).tolist()
    page.bar(CHANGE_COLOURS, column, line, label).set_ticks(ticks, labels=[f"{abs(tick):.3g}" for tick in ticks])
