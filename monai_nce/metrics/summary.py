"""Summarize per-slice values: mean over slices, per patient, bootstrap interval (decision 27)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["summarize"]


def summarize(
    per_patient: Mapping[str, Sequence[float]], confidence: float = 0.95, seed: int = 0, resamples: int = 9999
) -> dict[str, Any]:
    """Summarize one metric over a test set.

    Args:
        per_patient: values of each patient's slices.
        confidence: of the interval.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        ``mean`` over all slices, as in the paper; ``patient_mean``, the mean of the patients' means, with ``low`` and
        ``high``, its percentile-bootstrap interval over patients, the independent units (None with fewer than two);
        ``per_patient`` means.

    Raises:
        ValueError: without patients, or with one that has no slices.
    """
    if not per_patient or any(len(values) == 0 for values in per_patient.values()):
        raise ValueError("expected at least one patient, each with at least one slice")
    means = {patient: float(np.mean(values)) for patient, values in per_patient.items()}
    values = np.array(list(means.values()))
    low = high = None
    if len(values) > 1:
        interval = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=confidence,
            n_resamples=resamples,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return {
        "mean": float(np.mean(np.concatenate([np.asarray(v, dtype=float) for v in per_patient.values()]))),
        "patient_mean": float(values.mean()),
        "low": low,
        "high": high,
        "per_patient": means,
    }
