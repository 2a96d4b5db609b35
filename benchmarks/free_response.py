"""Judge marks that a reader puts into images freely: how many lesions they find, and what else.

The free-response curve (Bunch, Hamilton, Sanderson and Simmons, Proc. SPIE 1977;127:124) is the share of the lesions
that are marked against the mean number of false marks in an image, over all thresholds on the marks' scores. The figure
of merit (Chakraborty and Berbaum, Med. Phys. 2004;31:2313) is the chance that a lesion has a higher score than the
highest false mark in an image without lesions, ties counting half; a lesion or an image without marks has the lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FreeResponse", "threshold_at"]


@dataclass(frozen=True)
class FreeResponse:
    """Hold what a reader marked.

    Args:
        lesions: highest score of the marks that hit each lesion; -inf where none does.
        false_marks: scores of the marks in each image without lesions.
    """

    lesions: Sequence[float]
    false_marks: Sequence[Sequence[float]]

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return false marks in an image, rising from 0, and the share of the lesions that are found."""
        scores = [score for marks in self.false_marks for score in marks]
        thresholds = np.unique([score for score in (*scores, *self.lesions) if np.isfinite(score)])[::-1]
        false, found = (
            np.concatenate([[0.0], (np.asarray(values, float)[None] >= thresholds[:, None]).sum(1) / total])
            for values, total in ((scores, len(self.false_marks)), (self.lesions, len(self.lesions)))
        )
        return false, found

    def found_at(self, threshold: float) -> float:
        """Return the share of the lesions with at least this score."""
        return float(np.mean(np.asarray(self.lesions) >= threshold))

    def found_beside(self, false: float) -> float:
        """Return the share of the lesions that is found beside so many false marks in an image, at most."""
        marks = np.sort([score for of in self.false_marks for score in of])[::-1]
        allowed = int(false * len(self.false_marks) + 1e-9)
        too_low = marks[allowed] if allowed < len(marks) else -np.inf
        return float(np.mean(np.asarray(self.lesions) > too_low))

    def figure_of_merit(self) -> float:
        """Return the chance that a lesion has a higher score than the highest false mark of an image."""
        highest = np.array([max(marks, default=-np.inf) for marks in self.false_marks])
        scores = np.asarray(self.lesions, float)[:, None]
        return float(np.mean((scores > highest) + 0.5 * (scores == highest)))


def threshold_at(false_marks: Sequence[Sequence[float]], false: float) -> float:
    """Return the lowest score at which there are so many false marks in an image, at most; infinity if none is."""
    scores = np.unique([score for marks in false_marks for score in marks])
    total = np.sort([score for marks in false_marks for score in marks])
    kept = [score for score in scores if (total >= score).sum() <= false * len(false_marks)]
    return float(min(kept, default=np.inf))
