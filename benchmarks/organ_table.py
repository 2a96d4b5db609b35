"""Lay out, for Table 1's folder, how each method's organs agree with the real ones over patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.plan import METHODS

__all__ = ["organ_markdown"]

SHOWN = 8  # organs, those that take most contrast medium
FORMATS = {"bias": "+.1f", "low": ".1f", "high": ".1f"}
FOLLOWS = ("slope", "variance_ratio")


def organ_markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the tables in Markdown, empty where no result has an organ report.

    A row for each method, means over its seeds; bias in HU with the limits of agreement of patients.

    Args:
        results: of :class:`~benchmarks.cell.Cell`.
    """
    reports: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        if found := result["metrics"].get("organ_report"):
            reports.setdefault(result["method"], []).append(found)
    if not reports:
        return ""
    first = next(iter(reports.values()))[0]["organs"]
    rising = sorted(first, key=lambda name: first[name]["before"] - first[name]["real"])[:SHOWN]
    still = list(next(iter(reports.values()))[0]["nothing_rises"])
    biases, falses = [], []
    for method in (method for method in METHODS if method in reports):
        cells = [_bias([report["organs"].get(name) for report in reports[method]]) for name in rising]
        follows = [_mean([report["all_organs"].get(key) for report in reports[method]], ".2f") for key in FOLLOWS]
        biases.append([method, *cells, *follows])
        rises = ([report["nothing_rises"].get(name, {}).get("rise") for report in reports[method]] for name in still)
        falses.append([method, *(_mean(of, "+.1f") for of in rises)])
    parts = [
        "# Organs, synthetic less real mean HU",
        markdown_table([name.replace("_", " ") for name in ("method", *rising, *FOLLOWS)], biases),
        "Of the organs that take most contrast medium, with the limits within which 95 % of patients are expected. "
        "Slope and variance ratio are those of the synthetic on the real level over patients, of all organs together: "
        "1 where it is followed, 0 where all patients get the same. Means over seeds. Patient by patient: "
        "`organs.csv` and `bland_altman.png` of each cell.",
    ]
    if still:
        parts += [
            "What rose where nothing may, in HU:",
            markdown_table([name.replace("_", " ") for name in ("method", *still)], falses),
        ]
    return "\n\n".join(parts) + "\n"


def _bias(rows: Sequence[Mapping[str, Any] | None]) -> str:
    limits = [_mean([None if row is None else row[key] for row in rows], form) for key, form in FORMATS.items()]
    return f"{limits[0]} [{limits[1]}, {limits[2]}]" if limits[1] else limits[0]


def _mean(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    return format(float(np.mean(known)), form) if known else ""
