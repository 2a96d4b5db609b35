"""Judge margins of error: do they hold, and do they tell where an image is wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from benchmarks.lesions import area_under_curve

__all__ = ["Judged", "LEFT_OUT", "judge_coverage", "judge_order", "sparsification"]

FEWEST_VOXELS = 50  # of an organ in a patient
WRONG_HU = 30.0  # an error that would matter
LEFT_OUT = tuple(round(0.1 * step, 1) for step in range(10))  # shares of the voxels, widest margins first
SAMPLE = 20_000  # voxels of a patient, for ranks
BODY = "body"


@dataclass(frozen=True)
class Judged:
    """Hold one patient's voxels within the body, ``(N,)`` each.

    Attributes:
        errors: synthetic less true HU.
        labels: numbers of the structures.
        widths: half-widths in HU.
        signals: ``(10, N)``.
    """

    errors: NDArray[np.float32]
    labels: NDArray[np.uint8]
    widths: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    signals: NDArray[np.float16] = field(default_factory=lambda: np.empty((10, 0), np.float16))

    def part(self, number: int | None) -> NDArray[np.bool_] | slice | None:
        """Return where a structure is, all for None; None where it has too few voxels."""
        if number is None:
            return slice(None)
        where = self.labels == number
        return where if np.count_nonzero(where) >= FEWEST_VOXELS else None


def judge_coverage(patients: Sequence[Judged], number: int | None = None, factor: float = 1.0) -> dict[str, Any]:
    """Say how many voxels of a structure, or of the body, are within margins that are multiplied by a factor.

    Returns:
        ``patients`` that have it; mean over these of the ``coverage`` and of the half-width ``width`` in HU; and
        ``kept``, the share of patients of whom nine tenths of the voxels are covered.
    """
    found = []
    for one in patients:
        if (where := one.part(number)) is not None:
            error, width = np.abs(one.errors[where]), one.widths[where] * factor
            found.append((float((error <= width).mean()), float(width.mean())))
    if not found:
        return {"patients": 0, "coverage": None, "width": None, "kept": None}
    shares, widths = np.array(found).T
    return {
        "patients": len(found),
        "coverage": float(shares.mean()),
        "width": float(widths.mean()),
        "kept": float((shares >= 0.9).mean()),
    }


def judge_order(
    patients: Sequence[Judged], number: int | None = None, signal: int | None = None, seed: int = 0
) -> dict[str, float | None]:
    """Say whether voxels with wider margins are more wrong; a constant margin gives 0 and 0.5.

    Args:
        patients: with their half-widths.
        number: of the structure; None for the body.
        signal: take this one in place of half-widths.
        seed: of the voxels that are drawn, at most 20,000 of a patient.

    Returns:
        Means over patients: Spearman's ``correlation`` of margin and absolute error, and ``auc``, the area under the
        ROC curve with which margins tell voxels that are wrong by more than 30 HU from the others.
    """
    rng = np.random.default_rng(seed)
    correlations, areas = [], []
    for one in patients:
        if (where := one.part(number)) is None:
            continue
        error = np.abs(one.errors[where])
        width = (one.widths if signal is None else one.signals[signal].astype(np.float32))[where]
        drawn = rng.choice(len(error), min(SAMPLE, len(error)), replace=False)
        error, width = error[drawn], width[drawn]
        correlations.append(float(spearmanr(rankdata(width), error).statistic))
        area = area_under_curve(width[error > WRONG_HU].tolist(), width[error <= WRONG_HU].tolist())
        areas += [] if area is None else [area]
    return {
        "correlation": float(np.nanmean(correlations)) if correlations else None,
        "auc": float(np.mean(areas)) if areas else None,
    }


def sparsification(patients: Sequence[Judged]) -> dict[str, list[float]]:
    """Return the mean absolute error in HU of what is left where the widest margins are left out.

    Returns:
        For each of ``LEFT_OUT`` the mean over patients: ``margins``; ``oracle``, the largest errors left out; and
        ``constant``, where a constant margin leaves out any.
    """
    curves = []
    for one in patients:
        error = np.abs(one.errors)
        kept = [max(round(len(error) * (1 - share)), 1) for share in LEFT_OUT]
        means = [np.cumsum(error[np.argsort(key, kind="stable")]) for key in (one.widths, error)]
        curves.append([[float(of[count - 1] / count) for count in kept] for of in means])
        curves[-1].append([float(error.mean())] * len(kept))
    margins, oracle, constant = np.mean(curves, axis=0).tolist()
    return {"margins": margins, "oracle": oracle, "constant": constant}
