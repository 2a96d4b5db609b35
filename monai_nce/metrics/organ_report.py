"""Judge organs over patients: bias and limits of agreement, contrast level, lesions, what rose where nothing may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from monai_nce.metrics.follow import ALL, Followed
from monai_nce.metrics.lesions import find_lesions

__all__ = ["Limits", "OrganReport", "limits_of_agreement", "report_tables"]

LEAST_VOXELS = 50  # of an organ, to be measured in a patient
STILL_HU = 5.0  # an organ whose real mean rises by less than this over patients takes no contrast medium
ROSE_HU = 40.0  # a voxel that rose by more, in an organ that takes none
SPREAD = 1.96  # standard deviations to either side of the bias

Means = NDArray[np.float64]  # (organs, 3): before, synthetic, real


class Limits(NamedTuple):
    """Hold the bias of differences and the limits within which 95 % of them are expected; None for one alone."""

    bias: float
    low: float | None
    high: float | None


def limits_of_agreement(differences: Any) -> Limits:
    """Return mean and mean ± 1.96 standard deviations (Bland, Altman, Lancet 327, 1986).

    Args:
        differences: synthetic less real, one for each patient, without NaN.

    >>> limits_of_agreement([1.0, 3.0])
    Limits(bias=2.0, low=-0.77..., high=4.77...)
    """
    values = np.asarray(differences, float)
    bias = float(values.mean())
    if len(values) < 2:
        return Limits(bias, None, None)
    reach = SPREAD * float(values.std(ddof=1))
    return Limits(bias, bias - reach, bias + reach)


class OrganReport:
    """Gather the means of organs in patients, and say how they agree.

    Args:
        labels: the label maps' values by organ; ``air`` is none.
    """

    def __init__(self, labels: Mapping[str, int]) -> None:
        self.labels = {name: value for name, value in labels.items() if name != "air"}
        self.organs = tuple(self.labels)
        self.means: dict[str, Means] = {}
        self._rose: dict[str, NDArray[np.float64]] = {}
        self._groups: dict[str, str] = {}
        self._lesions: list[tuple[str, str, list[float]]] = []

    def add(
        self,
        patient: str,
        numbers: NDArray[Any],
        before: NDArray[Any],
        synthetic: NDArray[Any],
        real: NDArray[Any],
        voxel_ml: float,
        group: str = "",
    ) -> None:
        """Add a patient.

        Args:
            patient: name.
            numbers: label map (H, W, D).
            before, synthetic, real: likewise, in HU within the window.
            voxel_ml: volume of a voxel in ml.
            group: contrast phase; what differs between groups is no matter of contrast level.
        """
        found = np.full((len(self.organs), 3), np.nan)
        rose = np.full(len(self.organs), np.nan)
        risen = synthetic - before > ROSE_HU
        for row, value in enumerate(self.labels.values()):
            inside = numbers == value
            if np.count_nonzero(inside) >= LEAST_VOXELS:
                found[row] = [volume[inside].mean(dtype=float) for volume in (before, synthetic, real)]
                rose[row] = float(np.count_nonzero(risen & inside)) * voxel_ml
        self.means[patient], self._rose[patient], self._groups[patient] = found, rose, group
        for kind, _, lesion, around in find_lesions(numbers, self.labels):
            ratios = [_contrast_to_noise(volume, lesion, around) for volume in (before, synthetic, real)]
            self._lesions.append((patient, kind, ratios))

    def summary(self) -> dict[str, Any]:
        """Return what is known of organs over patients, in HU.

        Returns:
            ``organs``: by organ the number of ``patients``, the means ``before``, ``synthetic`` and ``real``, their
            ``bias`` (synthetic less real) with the limits of agreement ``low`` and ``high`` (None for one patient), and
            ``slope`` and ``variance_ratio`` of the contrast level as :func:`~monai_nce.metrics.follow.follow` has them.
            ``all_organs``: both of all organs together, with intervals over patients.
            ``lesions``: by kind their number, and mean absolute contrast-to-noise ratios ``before``, ``synthetic`` and
            ``real``.
            ``nothing_rises``: by organ that takes no contrast medium, since its real mean rises by less than 5 HU, the
            ``rise`` of the synthetic mean, the ``largest`` of a patient, and the mean ``ml`` that rose by more than
            40 HU.
        """
        patients = list(self.means)
        values = np.array([self.means[patient] for patient in patients]).reshape(len(patients), len(self.organs), 3)
        rose = np.array([self._rose[patient] for patient in patients]).reshape(len(patients), len(self.organs))
        level = Followed(self.organs)
        for patient in patients:
            before, synthetic, real = self.means[patient].T
            level.add(real, synthetic, self._groups[patient], patient)
        followed = level.summary() if patients else {}
        organs: dict[str, Any] = {}
        still: dict[str, Any] = {}
        for row, name in enumerate(self.organs):
            known = ~np.isnan(values[:, row, 0])
            if not known.any():
                continue
            before, synthetic, real = values[known, row].T
            limits = limits_of_agreement(synthetic - real)
            levels = {key: followed.get(name, {}).get(key) for key in ("slope", "variance_ratio")}
            means = {"before": before.mean(), "synthetic": synthetic.mean(), "real": real.mean()}
            organs[name] = {
                "patients": int(known.sum()),
                **{key: float(value) for key, value in means.items()},
                **limits._asdict(),
                **(levels if known.sum() > 1 else dict.fromkeys(levels)),
            }
            if (real - before).mean() < STILL_HU:
                rises = synthetic - before
                still[name] = {
                    "rise": float(rises.mean()),
                    "largest": float(rises.max()),
                    "ml": float(rose[known, row].mean()),
                }
        return {
            "organs": organs,
            "all_organs": {key: value for key, value in followed.get(ALL, {}).items() if key != "error"},
            "lesions": self._lesion_summary(),
            "nothing_rises": still,
        }

    def pairs(self) -> dict[str, NDArray[np.float64]]:
        """Return the synthetic and the real mean of each patient, ``(patients, 2)``, by organ."""
        values = np.array(list(self.means.values())).reshape(-1, len(self.organs), 3)
        found = {name: values[~np.isnan(values[:, row, 0]), row, 1:] for row, name in enumerate(self.organs)}
        return {name: of for name, of in found.items() if len(of)}

    def rows(self) -> list[list[str | float]]:
        """Return patient, organ, and the means before, synthetic and real, a row for each, under a head."""
        rows: list[list[str | float]] = [["patient", "organ", "before", "synthetic", "real"]]
        for patient, of in self.means.items():
            for name, means in zip(self.organs, of, strict=True):
                if not np.isnan(means[0]):
                    rows.append([patient, name, *(round(float(mean), 3) for mean in means)])
        return rows

    def _lesion_summary(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind in dict.fromkeys(kind for _, kind, _ in self._lesions):
            ratios = np.array([ratio for _, one, ratio in self._lesions if one == kind])
            means = np.abs(ratios).mean(axis=0).tolist()
            found[kind] = {"lesions": len(ratios), **dict(zip(("before", "synthetic", "real"), means, strict=True))}
        return found


def _contrast_to_noise(volume: NDArray[Any], lesion: NDArray[np.bool_], around: NDArray[np.bool_]) -> float:
    """Return the difference of the means by the standard deviation of the organ around; 0 where that is flat."""
    noise = float(volume[around].std(dtype=float))
    difference = float(volume[lesion].mean(dtype=float)) - float(volume[around].mean(dtype=float))
    return difference / noise if noise > 0 else 0.0


def report_tables(summary: Mapping[str, Any]) -> list[tuple[str, Sequence[str], list[list[str]], str]]:
    """Lay out a summary: heading, columns, rows and note of each table that has rows."""

    def number(value: float | None, digits: int = 1) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    organs = []
    for name, row in summary["organs"].items():
        limits = "" if row["low"] is None else f" [{row['low']:.1f}, {row['high']:.1f}]"
        cells = [number(row[key]) for key in ("before", "synthetic", "real")]
        follows = [number(row[key], 2) for key in ("slope", "variance_ratio")]
        organs.append([name, str(row["patients"]), *cells, f"{row['bias']:+.1f}{limits}", *follows])
    lesions = [
        [kind, str(row["lesions"]), *(number(row[key]) for key in ("before", "synthetic", "real"))]
        for kind, row in summary["lesions"].items()
    ]
    still = [
        [name, *(f"{row[key]:+.1f}" for key in ("rise", "largest")), number(row["ml"])]
        for name, row in summary["nothing_rises"].items()
    ]
    means = ["before", "synthetic", "real"]
    tables = [
        (
            "Organs, mean HU over patients",
            ["organ", "patients", *means, "bias [limits]", "slope", "variance ratio"],
            organs,
            "Bias: synthetic less real, with the limits within which 95 % of patients are expected. Slope and variance "
            "ratio of the synthetic on the real level over patients: 1 where it is followed, 0 where all get the same.",
        ),
        (
            "Lesions, contrast to noise",
            ["lesion", "lesions", *means],
            lesions,
            "Mean of |lesion - organ around it| by the organ's standard deviation, so leaving noise out raises it.",
        ),
        (
            "What rose where nothing may",
            ["organ", "rise in HU", "largest", f"ml above {ROSE_HU:.0f} HU"],
            still,
            f"Organs whose real mean rises by less than {STILL_HU:.0f} HU.",
        ),
    ]
    return [table for table in tables if table[2]]
