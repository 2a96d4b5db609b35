"""Compare methods by their grades, and readers with themselves and each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import krippendorff
import numpy as np
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

__all__ = [
    "CRITERIA",
    "GRADES",
    "agreement",
    "compare_methods",
    "krippendorff_alpha",
    "real_or_synthetic",
    "signed_rank_test",
    "summaries",
    "weighted_kappa",
]

CRITERIA = ("quality", "artefact")
GRADES = (1, 2, 3, 4, 5)  # excellent to poor
Row = Mapping[str, Any]  # as Study.grades() lists them


def summaries(rows: Iterable[Row], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Count the grades of each method and criterion; repeats are left out."""
    first = [row for row in rows if not row["repeat"]]
    found = []
    for criterion in CRITERIA:
        for method in methods:
            given = [row[criterion] for row in first if row["method"] == method]
            found.append(
                {
                    "criterion": criterion,
                    "method": method,
                    "count": len(given),
                    "grades": [given.count(grade) for grade in GRADES],
                    "mean": float(np.mean(given)) if given else None,
                    "median": float(np.median(given)) if given else None,
                }
            )
    return found


def compare_methods(rows: Iterable[Row], methods: Sequence[str]) -> list[dict[str, Any]]:
    """Test every two methods against each other: Wilcoxon's signed-rank test over cases, with Holm's correction.

    A case counts once, by the mean difference of the readers who graded both of its images; repeats are left out. The
    correction is over all tests of both criteria.
    """
    first = {(row["reader"], row["case"], row["method"]): row for row in rows if not row["repeat"]}
    seen = sorted({key[:2] for key in first})
    found: list[dict[str, Any]] = []
    for criterion in CRITERIA:
        for one, other in combinations(methods, 2):
            by_case: dict[str, list[int]] = {}
            for reader, case in seen:
                pair = first.get((reader, case, one)), first.get((reader, case, other))
                if pair[0] is not None and pair[1] is not None:
                    by_case.setdefault(case, []).append(pair[0][criterion] - pair[1][criterion])
            differences = [float(np.mean(given)) for given in by_case.values()]
            result = {"criterion": criterion, "one": one, "other": other, "cases": len(differences)}
            if differences:
                statistic, p = signed_rank_test(differences)
                found.append({**result, "difference": float(np.mean(differences)), "statistic": statistic, "p": p})
    if found:
        for result, p in zip(found, multipletests([one["p"] for one in found], method="holm")[1], strict=True):
            result["p_holm"] = float(p)
    return found


def signed_rank_test(differences: Sequence[float]) -> tuple[float, float]:
    """Return Wilcoxon's statistic, the smaller sum of ranks, and its exact two-sided p value, with ties or without.

    Differences of 0 are left out, as Wilcoxon did. SciPy's is exact without ties alone, or takes seconds a test.
    """
    kept = np.array([one for one in differences if one])
    ranks = np.rint(2 * stats.rankdata(np.abs(kept))).astype(int)  # twice, since ties share halves
    chance = np.ones(1)  # of each sum, where every sign is as likely as the other
    for rank in ranks:
        step = np.zeros(rank + 1)
        step[[0, -1]] = 0.5
        chance = np.convolve(chance, step)
    above = int(ranks[kept > 0].sum())
    p = 2 * min(chance[: above + 1].sum(), chance[above:].sum())
    return min(above, int(ranks.sum()) - above) / 2, float(min(p, 1.0))


def agreement(rows: Sequence[Row], readers: Sequence[int]) -> list[dict[str, Any]]:
    """Measure how well readers agree with themselves, in pairs and all together.

    Weighted kappa (quadratic weights) between a reader's two grades of the images that came twice, and between the
    first ones of every two readers; Krippendorff's alpha for ordinal data over the first ones of all readers.
    """
    first = {(row["reader"], row["case"], row["method"]): row for row in rows if not row["repeat"]}
    again = {(row["reader"], row["case"], row["method"]): row for row in rows if row["repeat"]}
    images = sorted({key[1:] for key in first})
    found = []
    for criterion in CRITERIA:
        for reader in readers:
            pairs = [(first[key][criterion], again[key][criterion]) for key in again if key[0] == reader]
            found.append({"criterion": criterion, "readers": [reader, reader], **_kappa(pairs)})
        for one, other in combinations(readers, 2):
            both = [key for key in images if (one, *key) in first and (other, *key) in first]
            pairs = [(first[(one, *key)][criterion], first[(other, *key)][criterion]) for key in both]
            found.append({"criterion": criterion, "readers": [one, other], **_kappa(pairs)})
        if len(readers) > 1:
            table = [
                [first[(reader, *key)][criterion] if (reader, *key) in first else math.nan for key in images]
                for reader in readers
            ]
            count = int((np.sum(~np.isnan(table), axis=0) > 1).sum()) if images else 0
            alpha = krippendorff_alpha(table)
            found.append({"criterion": criterion, "readers": list(readers), "count": count, "alpha": alpha})
    return found


def _kappa(pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
    same = sum(a == b for a, b in pairs)
    return {
        "count": len(pairs),
        "same": same / len(pairs) if pairs else None,
        "kappa": weighted_kappa(*zip(*pairs, strict=True)) if pairs else None,
    }


def weighted_kappa(one: Sequence[int], other: Sequence[int], grades: Sequence[int] = GRADES) -> float | None:
    """Return Cohen's kappa with quadratic weights; None where both readers gave one and the same grade to all."""
    if len({*one, *other}) < 2:
        return None
    return float(cohen_kappa_score(one, other, weights="quadratic", labels=list(grades)))


def krippendorff_alpha(table: Sequence[Sequence[float]]) -> float | None:
    """Return Krippendorff's alpha for ordinal data; None where it is not defined.

    Args:
        table: a row per reader, a column per image; NaN where there is no grade.
    """
    array = np.array(table, dtype=float)
    several = array[:, np.sum(~np.isnan(array), axis=0) > 1] if array.size else array
    if len(np.unique(several[~np.isnan(several)])) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(krippendorff.alpha(several, level_of_measurement="ordinal"))


def real_or_synthetic(
    rows: Sequence[Row], readers: Sequence[int], methods: Sequence[str], real: str | None
) -> list[dict[str, Any]]:
    """Say how often each reader took the images of a method for real, with Wilson's 95 % interval.

    Where there are real images, ``p`` is Fisher's exact test of a reader's answers to real against those to all
    synthetic images: near 1 where the reader cannot tell them apart. Repeats are left out.
    """
    first = [row for row in rows if not row["repeat"] and row["looks_real"] is not None]
    found = []
    for reader in readers:
        own = [row for row in first if row["reader"] == reader]
        told = {
            is_real: [row["looks_real"] for row in own if (row["method"] == real) is is_real]
            for is_real in (True, False)
        }
        p = None
        if told[True] and told[False]:
            p = float(stats.fisher_exact([[sum(one), len(one) - sum(one)] for one in told.values()])[1])
        for method in methods:
            answers = [row["looks_real"] for row in own if row["method"] == method]
            if answers:
                low, high = proportion_confint(sum(answers), len(answers), method="wilson")
                result = {"reader": reader, "method": method, "count": len(answers), "called_real": sum(answers)}
                found.append({**result, "low": float(low), "high": float(high), "p": p})
    return found
