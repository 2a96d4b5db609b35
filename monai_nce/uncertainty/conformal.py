"""Choose limits that hold in a new patient as often as promised: split conformal prediction, and risk control.

Patients are exchangeable, the voxels of one are not. So a patient counts as one, however many voxels are in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_nce.errors import InputError

__all__ = ["conformal_quantile", "coverage_factor", "fewest_patients"]


def conformal_quantile(scores: ArrayLike, coverage: float = 0.9) -> float:
    """Return the limit that a new patient's score keeps to with a probability of at least ``coverage``.

    The ceil((n + 1) coverage)-th smallest of n scores, infinity where there are too few (Vovk, Gammerman and Shafer,
    2005; Angelopoulos and Bates, arXiv:2107.07511, section 1).

    Args:
        scores: one of each patient, such as how far the mean of an organ was off.
        coverage: between 0 and 1.

    >>> conformal_quantile([3, 1, 2, 5, 4, 9, 8, 7, 6], coverage=0.8)
    8.0
    """
    values = np.sort(np.asarray(scores, np.float64).ravel())
    _check(coverage)
    rank = math.ceil(round((len(values) + 1) * coverage, 9))
    return float(values[rank - 1]) if rank <= len(values) else math.inf


def coverage_factor(
    ratios: Sequence[ArrayLike], coverage: float = 0.9, weights: Sequence[ArrayLike] | None = None
) -> float:
    """Return by what half-widths must be multiplied so that a new patient's voxels are covered, in expectation.

    Conformal risk control (Angelopoulos, Bates, Fisch, Lei and Schuster, arXiv:2208.02814, equation 4): of n patients,
    the loss of each is the share of its voxels that are not covered, at most 1 and falling with the factor; it is the
    smallest factor for which n / (n + 1) times the mean loss, plus 1 / (n + 1), is at most 1 - ``coverage``.

    Args:
        ratios: of each patient, the error of each voxel by its half-width before.
        coverage: share of the voxels of a new patient, on average over such patients, between 0 and 1.
        weights: of each patient's voxels, where they do not count the same.

    Returns:
        The factor; infinity where there are fewer patients than :func:`fewest_patients`.

    Raises:
        InputError: without patients, or where one has no voxels.

    >>> coverage_factor([[0.5, 1.0, 2.0, 4.0]] * 9, coverage=0.5)
    2.0
    """
    _check(coverage)
    if not len(ratios) or not all(np.size(one) for one in ratios):
        raise InputError("expected voxels of at least one patient but got none")
    count = len(ratios)
    allowed = ((count + 1) * (1 - coverage) - 1) / count  # of the mean loss
    if allowed < -1e-12:
        return math.inf
    given = [np.ones(np.size(one)) for one in ratios] if weights is None else weights
    shares = [_share(one) / count for one in given]
    values = np.concatenate([np.asarray(one, np.float64).ravel() for one in ratios])
    order = np.argsort(values)
    # the loss once the factor is a value: the weight of all that are larger
    lost = 1 - np.cumsum(np.concatenate(shares)[order])
    # of values that are the same, all are covered by a factor as large, and the last has that loss
    at = int(np.argmax(lost <= allowed + 1e-9))
    return float(values[order][at])


def fewest_patients(coverage: float = 0.9) -> int:
    """Return how many patients a limit for this coverage needs at least.

    >>> fewest_patients(0.9)
    9
    """
    _check(coverage)
    return math.ceil(round(coverage / (1 - coverage), 9))


def _share(weights: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(weights, np.float64).ravel()
    return np.asarray(values / values.sum())


def _check(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise InputError(f"coverage: expected a share between 0 and 1 but got {coverage}")
