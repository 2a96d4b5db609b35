"""Draw the distributions of the grades per method and criterion (paper Fig. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from monai_nce.study.statistics import CRITERIA, GRADES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TITLES", "draw_grades"]

COLOURS = ("#23628f", "#86b3d1", "#d8dadc", "#e9ac87", "#b04a2f")  # excellent to poor, told apart without red and green
LIGHT_TEXT = (1, 5)  # grades whose colours are dark
TITLES = {"quality": "Image quality", "artefact": "Artefacts"}
DIGIT = 0.026  # of a bar, that a digit of a number needs


def draw_grades(summaries: Sequence[Mapping[str, Any]], note: str) -> Figure:
    """Draw a bar for each method and criterion, divided by how often each grade was given.

    Args:
        summaries: as :func:`~monai_nce.study.statistics.summaries` gives them.
        note: who graded what, below the figure.
    """
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(one["method"] for one in summaries))
    figure = Figure(figsize=(10.5, 1.75 + 0.46 * len(methods)), dpi=150, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(rect=(0.01, 0.09, 0.98, 0.8), wspace=0.06)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(1, len(CRITERIA), sharey=True)
    for axis, criterion in zip(axes, CRITERIA, strict=True):
        for place, one in enumerate(row for row in summaries if row["criterion"] == criterion):
            start = 0.0
            for grade, count, colour in zip(GRADES, one["grades"], COLOURS, strict=True):
                share = count / one["count"] if one["count"] else 0
                axis.barh(place, share, left=start, height=0.68, color=colour, edgecolor="white", linewidth=0.8)
                if share >= DIGIT * len(str(count)) and count:
                    ink = "white" if grade in LIGHT_TEXT else "#22272b"
                    axis.text(start + share / 2, place, str(count), ha="center", va="center", color=ink, fontsize=9)
                start += share
            if one["mean"] is not None:
                text = f"{one['mean']:.2f}"
                axis.text(1.02, place, text, ha="left", va="center", color="#22272b", fontsize=10)
        axis.set_title(TITLES[criterion], fontsize=12, loc="left", fontweight="bold", color="#22272b")
        axis.text(1.02, -0.62, "mean", ha="left", va="center", fontsize=9, color="#6b737b")
        axis.set_xlim(0, 1.12)
        axis.set_ylim(len(methods) - 0.5, -0.8)
        axis.set_xticks([0, 0.5, 1], ["0", "50 %", "100 %"], fontsize=9, color="#6b737b")
        axis.set_yticks(range(len(methods)), methods, fontsize=11, color="#22272b")
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
    handles = [_patch(colour) for colour in COLOURS]
    words = {1: "1 excellent", 5: "5 poor"}
    labels = [words.get(grade, str(grade)) for grade in GRADES]
    figure.legend(handles, labels, loc="upper left", ncols=len(GRADES), frameon=False, fontsize=10, handlelength=1.1)
    figure.text(0.012, 0.02, f"{note} Research use only.", fontsize=8.5, color="#6b737b")
    return figure


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour)
