"""Measure how far synthetic values follow the true ones, about the means of their groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALL", "Followed", "follow"]

ALL = "all"  # organs together
RESAMPLES = 999


class Followed:
    """Gather true and synthetic values of several organs, sample by sample, and compare them.

    Args:
        organs: names, in the order of the values.
    """

    def __init__(self, organs: Sequence[str]) -> None:
        self.organs = tuple(organs)
        self._truth: list[NDArray[np.float64]] = []
        self._made: list[NDArray[np.float64]] = []
        self._groups: list[str] = []
        self._patients: list[str] = []

    def add(self, truth: NDArray[np.float64], made: NDArray[np.float64], group: str, patient: str) -> None:
        """Add a sample: a value for each organ, NaN where there is none."""
        self._truth.append(truth)
        self._made.append(made)
        self._groups.append(group)
        self._patients.append(patient)

    def summary(self, seed: int = 0) -> dict[str, dict[str, Any]]:
        """Return what :func:`follow` finds, and for all organs 95 % percentile-bootstrap intervals over patients.

        The intervals, ``slope_interval`` and ``variance_ratio_interval``, need at least two patients. Draws in which
        the truth does not vary do not count.
        """
        truth, made, groups = np.array(self._truth), np.array(self._made), np.array(self._groups)
        found: dict[str, dict[str, Any]] = follow(self.organs, truth, made, groups)
        patients = sorted(set(self._patients))
        rows = [np.flatnonzero(np.array(self._patients) == patient) for patient in patients]
        redrawn: dict[str, list[float]] = defaultdict(list)
        for drawn in np.random.default_rng(seed).integers(len(rows), size=(RESAMPLES, len(rows))):
            chosen = np.concatenate([rows[patient] for patient in drawn])
            together = follow(self.organs, truth[chosen], made[chosen], groups[chosen]).get(ALL, {})
            for name in ("slope", "variance_ratio"):
                if (value := together.get(name)) is not None:
                    redrawn[name].append(value)
        for name, values in redrawn.items():
            if len(rows) > 1 and values:
                found[ALL][f"{name}_interval"] = np.quantile(values, (0.025, 0.975)).tolist()
        return found


def follow(
    organs: Sequence[str], truth: NDArray[np.float64], made: NDArray[np.float64], groups: NDArray[np.str_]
) -> dict[str, dict[str, float | None]]:
    """Compare synthetic with true values about the means of their groups.

    Args:
        organs: names.
        truth, made: ``(samples, organs)``; NaN where there is no value.
        groups: of the samples; what differs between them is left out.

    Returns:
        By organ that has values, and for all together by their sums of squares: ``slope`` of synthetic on true values;
        ``variance_ratio``, of synthetic to true ones; both None where the truth does not vary; and ``error``, the mean
        absolute difference.
    """
    known = ~np.isnan(truth + made)
    x, y = (np.where(known, values, np.nan) for values in (truth, made))
    error = np.nansum(np.abs(y - x), axis=0)
    for group in np.unique(groups):
        of_group = groups == group
        count = np.maximum(known[of_group].sum(axis=0), 1)
        for values in (x, y):
            values[of_group] -= np.nansum(values[of_group], axis=0) / count
    sums = np.array([np.nansum(x * x, axis=0), np.nansum(x * y, axis=0), np.nansum(y * y, axis=0), error, known.sum(0)])
    parts = {**dict(zip(organs, sums.T, strict=True)), ALL: sums.sum(axis=1)}
    return {name: _figures(*map(float, part)) for name, part in parts.items() if part[-1]}


def _figures(xx: float, xy: float, yy: float, error: float, count: float) -> dict[str, float | None]:
    slope, ratio = (xy / xx, yy / xx) if xx > 0 else (None, None)
    return {"slope": slope, "variance_ratio": ratio, "error": error / count}
