"""Draw Bland–Altman plots: how far synthetic values are from real ones, over their mean."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["draw_bland_altman"]

COLUMNS = 4
PANEL = (2.6, 2.0)  # inches


def draw_bland_altman(pairs: Mapping[str, Any], limits: Mapping[str, Any], unit: str = "HU", note: str = "") -> bytes:
    """Draw a panel for each organ: a point for each patient, the bias, and the limits of agreement.

    Args:
        pairs: by name ``(patients, 2)``, the synthetic and the real value of each.
        limits: by name bias, low and high; low and high None where there is one patient.
        unit: of the values.
        note: for the bottom.

    Returns:
        A picture as PNG.

    Raises:
        ValueError: without anything to draw.
    """
    from matplotlib.figure import Figure  # takes half a second

    if not pairs:
        raise ValueError("expected an organ to draw")
    columns = min(COLUMNS, len(pairs))
    lines = -(-len(pairs) // columns)
    figure = Figure(figsize=(columns * PANEL[0], lines * PANEL[1] + 0.4), dpi=100, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for panel, (name, values) in zip(panels, pairs.items(), strict=False):
        synthetic, real = np.asarray(values, float).T
        panel.axhline(0, color="0.8", linewidth=0.8)
        panel.scatter((synthetic + real) / 2, synthetic - real, s=10, color="tab:blue")
        bias, low, high = limits[name]
        panel.axhline(bias, color="tab:red", linewidth=1)
        for limit in (low, high):
            if limit is not None:
                panel.axhline(limit, color="tab:red", linewidth=1, linestyle="--")
        panel.set_title(name.replace("_", " "), fontsize=8)
        panel.tick_params(labelsize=7)
    for panel in panels[len(pairs) :]:
        panel.axis("off")
    of = f" in {unit}" if unit else ""
    figure.supxlabel(f"mean of synthetic and real{of}. {note}".strip(), fontsize=8)
    figure.supylabel(f"synthetic less real{of}", fontsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
