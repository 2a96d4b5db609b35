"""Measure what becomes of lesions: which take contrast medium up, and which stand out of their organ.

    python -m benchmarks.lesions --data DIR --weights PATH [PATH ...] [--split NAME] [--out FILE]

DIR is a data set with aligned sources, targets and labels, as ``data_prep virtual`` makes. A lesion is a connected
piece of a tumour's or cyst's tissue in liver, spleen, kidney or pancreas. All values are means in HU within the window
of the weights: over the lesion without its border, and over the organ in a shell around it.

Rise: does the lesion take contrast medium up? Those that truly rise by 20 HU or more are told from those that rise by
less than 10, by how much they rise in the synthetic image. Contrast: is it brighter or darker than its organ in the
CECT? Those that truly differ by 10 HU or more are told apart by their difference in the synthetic image. The figure is
the area under the ROC curve: the share of pairs of a lesion of either kind that are in the right order, 0.5 by chance.
Identity ranks by the NECT alone: by the lesion's HU, and by its difference from the organ.

All is printed for lesions that the NECT shows (by 10 HU or more) and that it does not, with a 95 % interval over
patients.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from scipy.stats import mannwhitneyu
from tqdm import tqdm

from benchmarks.hardware import host
from benchmarks.markdown import markdown_table
from benchmarks.weights import Weights, common_window
from monai_nce.data import SPLITS, read_datalist, read_datalist_file, write_json
from monai_nce.errors import InputError
from monai_nce.metrics.lesions import find_lesions

__all__ = ["Lesion", "area_under_curve", "main", "measure", "summarize"]

RISES, STAYS = 20.0, 10.0  # HU: takes contrast medium up, or none
DIFFERS = 10.0  # HU: brighter or darker than the organ
SHOWN = 10.0  # HU: the NECT shows the lesion
RESAMPLES = 999
IDENTITY = "identity"
PARTS = ("all", "shown by the NECT", "not shown by it")

Means = tuple[float, float]  # HU of a lesion, and of the organ around it


@dataclass(frozen=True)
class Lesion:
    """Hold what was measured of one lesion, in HU.

    Args:
        patient, kind, organ: whose, of which tissue, in which organ.
        cm3: its volume.
        nect, cect: true means of lesion and organ.
        synthetic: the same of the synthetic image, by weights.
    """

    patient: str
    kind: str
    organ: str
    cm3: float
    nect: Means
    cect: Means
    synthetic: dict[str, Means]

    @property
    def rise(self) -> float:
        return self.cect[0] - self.nect[0]

    @property
    def contrast(self) -> float:
        return self.cect[0] - self.cect[1]

    @property
    def shown(self) -> bool:
        return abs(self.nect[0] - self.nect[1]) >= SHOWN


def measure(dataset_dir: Path, weights: Mapping[str, Weights], split: str = "test") -> list[Lesion]:
    """Measure every lesion of a split's patients in truth, and as weights show it.

    Raises:
        InputError: if there is no such lesion, or weights have different windows.
    """
    window = common_window(weights.values())
    labels = read_datalist_file(dataset_dir)["provenance"]["labels"]
    found = []
    items = read_datalist(dataset_dir, split, ("target", "aligned_source", "labels"))
    for item in tqdm(items, desc="lesions", unit="patient"):
        image = {role: nib.Nifti1Image.from_filename(item[role]) for role in ("labels", "aligned_source", "target")}
        numbers, source, target = (np.asarray(image[role].dataobj) for role in image)
        cm3 = float(np.prod(image["labels"].header.get_zooms()[:3])) / 1000
        pieces = list(find_lesions(numbers, labels))
        made = {path: one.enhance(source.astype(np.float32)) for path, one in weights.items()} if pieces else {}
        inside = [window.inverse(window(torch.from_numpy(hu.astype(np.float32)))).numpy() for hu in (source, target)]
        for kind, organ, lesion, around in pieces:
            nect, cect, *synthetic = (
                (float(hu[lesion].mean()), float(hu[around].mean())) for hu in (*inside, *made.values())
            )
            shown = dict(zip(made, synthetic, strict=True))
            found.append(Lesion(item["patient"], kind, organ, float(lesion.sum()) * cm3, nect, cect, shown))
    if not found:
        raise InputError(f"{dataset_dir}: expected {split} patients with lesions in an organ but there are none")
    return found


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Return the share of pairs whose positive has the higher value, ties counting half; None without pairs."""
    if not len(positive) or not len(negative):
        return None
    return float(mannwhitneyu(positive, negative).statistic) / (len(positive) * len(negative))


def summarize(lesions: Sequence[Lesion], row: str, seed: int = 0) -> dict[str, Any]:
    """Judge how one row tells lesions apart.

    Args:
        lesions: all of them.
        row: weights, or ``identity``.
        seed: of the bootstrap over patients.

    Returns:
        For ``rise`` and ``contrast``: the number of lesions of either kind, the area under the curve ``auc``, and its
        95 % percentile ``interval``; both None where there is nothing to tell apart.
    """

    def value(lesion: Lesion, part: str) -> float:
        inner, around = lesion.nect if row == IDENTITY else lesion.synthetic[row]
        if part == "contrast":
            return inner - around
        return inner if row == IDENTITY else inner - lesion.nect[0]

    kinds = {
        "rise": [(one, one.rise >= RISES) for one in lesions if one.rise >= RISES or one.rise < STAYS],
        "contrast": [(one, one.contrast > 0) for one in lesions if abs(one.contrast) >= DIFFERS],
    }
    found = {}
    for part, judged in kinds.items():
        patients = sorted({one.patient for one, _ in judged})
        of_patient: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in patients}
        for one, positive in judged:
            of_patient[one.patient][0 if positive else 1].append(value(one, part))

        def curve(names: Sequence[str], values: Mapping[str, tuple[list[float], list[float]]]) -> float | None:
            sides = ([x for name in names for x in values[name][side]] for side in (0, 1))
            return area_under_curve(*sides)

        drawn = np.random.default_rng(seed).integers(max(len(patients), 1), size=(RESAMPLES, len(patients)))
        redrawn = [curve([patients[at] for at in chosen], of_patient) for chosen in drawn]
        known = [auc for auc in redrawn if auc is not None]
        auc = curve(patients, of_patient)
        found[part] = {
            "positive": sum(positive for _, positive in judged),
            "negative": sum(not positive for _, positive in judged),
            "auc": auc,
            "interval": np.quantile(known, (0.025, 0.975)).tolist() if auc is not None else None,
        }
    return found


def _parts(lesions: Sequence[Lesion]) -> dict[str, list[Lesion]]:
    shown = [one for one in lesions if one.shown]
    return dict(zip(PARTS, (list(lesions), shown, [one for one in lesions if not one.shown]), strict=True))


def table(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Lay out the areas under the curve in Markdown."""
    lines = []
    for part, rows in summary.items():
        for row, figures in rows.items():
            cells = []
            for name in ("rise", "contrast"):
                of = figures[name]
                cells.append(f"{of['positive']}, {of['negative']}")
                cells.append("" if of["auc"] is None else "{:.2f} [{:.2f}, {:.2f}]".format(of["auc"], *of["interval"]))
            lines.append([part, row, *cells])
    return markdown_table(["lesions", "row", "rising, not", "told apart", "brighter, darker", "told apart"], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, with ``--out``, write the figures; return 2 for wrong input, said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, nargs="+", required=True, metavar="PATH")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args(arguments)
    try:
        weights = {str(path): Weights(path) for path in given.weights}
        lesions = measure(given.data, weights, given.split)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    summary = {
        part: {row: summarize(some, row) for row in (IDENTITY, *weights)} for part, some in _parts(lesions).items()
    }
    patients = len({one.patient for one in lesions})
    print(f"{len(lesions)} lesions of {patients} {given.split} patients; 95 % intervals over patients\n")
    print(table(summary))
    if given.out:
        facts = {"data": read_datalist_file(given.data).get("name"), "split": given.split, "hardware": host()}
        facts |= {"weights": {path: one.said.plain() for path, one in weights.items()}, "told_apart": summary}
        write_json(given.out, {**facts, "lesions": [asdict(one) for one in lesions]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
