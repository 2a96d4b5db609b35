"""What a target has and a source lacks, as colours: correct enhancement is blue, false change is red (paper Fig. 5)."""

from __future__ import annotations

import numpy as np

from .panels import DIFFERENCE_COLOURS, Page, Window

__all__ = ["CHANGE_COLOURS", "change_bar", "describe_change", "draw_change", "split_change"]

CHANGE_COLOURS = DIFFERENCE_COLOURS.reversed()  # from false change, red, over none, black, to correct, blue


def split_change(
    target: np.ndarray, source: np.ndarray, aligned_source: np.ndarray | None, window: Window
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
        window: within which they are compared.

    Returns:
        correct and false change, in the window's unit.
    """
    change = window.difference(target, source)
    truth = np.full_like(change, np.inf) if aligned_source is None else window.difference(target, aligned_source)
    correct = np.clip(change, np.minimum(truth, 0), np.maximum(truth, 0))
    return correct, change - correct


def draw_change(
    page: Page,
    row: int,
    column: int,
    target: np.ndarray,
    source: np.ndarray,
    aligned_source: np.ndarray | None,
    window: Window,
    line: int = 0,
) -> None:
    """Show ``target - source``, each pixel by the larger of its two parts, and the share of the false one.

    Args:
        page: to draw on.
        row: of the page.
        column: of the page.
        target: as in :func:`split_change`, likewise the next three.
        source: the same.
        aligned_source: the same.
        window: the same; a third of its width gets the last colour.
        line: of the row.
    """
    correct, false = (np.abs(part) for part in split_change(target, source, aligned_source, window))
    share = false.sum() / max(float((correct + false).sum()), 1e-9)
    limit = window.width / 3
    page.panel(
        row,
        column,
        np.where(false > correct, -false, correct),
        CHANGE_COLOURS,
        -limit,
        limit,
        line,
        f"{100 * share:.0f} % {_words(aligned_source is not None)[0]}",
    )


def _words(aligned: bool) -> tuple[str, str]:
    """What red and blue mean."""
    return ("false", "correct") if aligned else ("darker", "brighter")


def describe_change(aligned: bool, source_name: str, target_name: str) -> str:
    """The figure's note on the two colours."""
    if aligned:
        meaning = (
            f"blue is change that {target_name} - aligned {source_name} has too; red is false change, which it has not"
        )
    else:
        meaning = (
            f"with no aligned {source_name}, blue is where {target_name} is brighter, by contrast medium or "
            "motion; red is where it is darker, which contrast medium cannot do"
        )
    return f"{target_name} - {source_name}: {meaning}, with its share of all change."


def change_bar(page: Page, aligned: bool, window: Window, column: int, line: int = 0) -> None:
    """Add the colour bar of :func:`draw_change`; arguments as in :meth:`Page.bar` and :func:`describe_change`."""
    red, blue = _words(aligned)
    label = f"{red} \N{LEFTWARDS ARROW} {window.unit} \N{RIGHTWARDS ARROW} {blue}"
    limit = window.width / 3
    ticks = np.linspace(-limit, limit, 5)
    page.bar(CHANGE_COLOURS, limit, label, column, line).set_ticks(
        ticks.tolist(), labels=[f"{abs(tick):.3g}" for tick in ticks]
    )
