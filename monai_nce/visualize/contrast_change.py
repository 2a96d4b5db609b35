"""Colour what a target has and a source lacks: blue for correct enhancement, red for false change (paper Fig. 5)."""

from __future__ import annotations

import numpy as np

from .panels import DIFFERENCE_COLOURS, Display, Page

__all__ = ["CHANGE_COLOURS", "change_bar", "describe_change", "draw_change", "split_change"]

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
        display: window within which they are compared.

    Returns:
        correct and false change, in the window's unit.
    """
    change = display.difference(target, source)
    truth = np.full_like(change, np.inf) if aligned_source is None else display.difference(target, aligned_source)
    correct = np.clip(change, np.minimum(truth, 0), np.maximum(truth, 0))
    return correct, change - correct


def draw_change(page: Page, row: int, column: int, source: np.ndarray, aligned: bool, line: int = 0) -> None:
    """Show the row's ``target - source``, each pixel by the larger of its two parts, and the share of the false one.

    Args:
        page: to draw on.
        row, column, line: where.
        source: as in :func:`split_change`.
        aligned: judge by the row's aligned source.
    """
    images = page.rows[row]
    assert images.target is not None
    parts = split_change(images.target, source, images.aligned_source if aligned else None, page.display)
    correct, false = (np.abs(part) for part in parts)
    share = 100 * false.sum() / max(float((correct + false).sum()), 1e-9)
    corner = f"{share:.0f} % {_words(aligned)[0]}"
    page.panel(row, column, np.where(false > correct, -false, correct), CHANGE_COLOURS, line, corner)


def _words(aligned: bool) -> tuple[str, str]:
    """Name red and blue."""
    return ("false", "correct") if aligned else ("darker", "brighter")


def describe_change(aligned: bool, display: Display) -> str:
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


def change_bar(page: Page, aligned: bool, column: int, line: int = 0) -> None:
    """Add the colour bar of :func:`draw_change`; arguments as in :meth:`Page.bar`."""
    red, blue = _words(aligned)
    label = f"{red} \N{LEFTWARDS ARROW} {page.display.unit} \N{RIGHTWARDS ARROW} {blue}"
    ticks = np.linspace(-page.display.limit, page.display.limit, 5).tolist()
    page.bar(CHANGE_COLOURS, column, line, label).set_ticks(ticks, labels=[f"{abs(tick):.3g}" for tick in ticks])
