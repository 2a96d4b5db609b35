"""Measure how far synthetic organs follow the contrast level: the one that is asked for, and the patients' own.

    python -m benchmarks.contrast_level --data DIR --weights PATH [PATH ...] [--split NAME] [--out FILE]

DIR is a data set with aligned sources, labels, and phase and level of each patient, as ``data_prep virtual`` makes.
Values are means over an organ in HU within the window of the weights; what lies beyond counts as its end.

Asked: each patient is computed in its own phase at each of the levels, by weights that take them. The truth at a level
is the patient's own with the rise of every voxel scaled. The slope, of synthetic on true values about each patient's
mean, is 1 where the level is followed and 0 where it is ignored.

Between patients: slope and variance of synthetic against true values about the mean of each phase. Perfection has 1;
what gives every patient of a phase the same has 0. The network is told nothing of a patient, or phase and level.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.hardware import host
from benchmarks.markdown import markdown_table
from benchmarks.weights import Weights, common_window
from monai_nce.contrast import check_contrast
from monai_nce.data import SPLITS, read_datalist, read_datalist_file, write_json
from monai_nce.errors import InputError
from monai_nce.metrics.follow import ALL, Followed
from monai_nce.transforms import WindowHU

__all__ = ["LEVELS", "ORGANS", "Patient", "main", "measure"]

ORGANS = (
    "aorta",
    "inferior_vena_cava",
    "portal_vein",
    "liver",
    "spleen",
    "pancreas",
    "kidney_cortex",
    "kidney_medulla",
)
LEVELS = (0.6, 0.8, 1.0, 1.25, 1.5)  # from the lowest to the highest of virtual patients
LEAST_VOXELS = 50  # of an organ, to be measured in a patient
IDENTITY, NOTHING, EVERYTHING = "identity", "told nothing", "told phase and level"

Volume = NDArray[np.float32]  # HU, (H, W, D)


@dataclass(frozen=True)
class Patient:
    """Read a patient of ``read_datalist`` that has a phase, a level, an aligned source, a target and labels.

    Args:
        item: of the data set.
        labels: the label maps' values, by organ.
    """

    item: Mapping[str, Any]
    labels: Mapping[str, int]

    @cached_property
    def source(self) -> Volume:
        return self._read("aligned_source").astype(np.float32)

    @cached_property
    def target(self) -> Volume:
        return self._read("target").astype(np.float32)

    @cached_property
    def organs(self) -> list[NDArray[np.bool_]]:
        """The voxels of each of ``ORGANS``."""
        numbers = self._read("labels")
        return [numbers == self.labels.get(name, -1) for name in ORGANS]

    def at_level(self, level: float) -> Volume:
        """Scale the rise of every voxel to another contrast level."""
        return self.source + np.float32(level / self.item["level"]) * (self.target - self.source)

    def means(self, hu: Volume, window: WindowHU) -> NDArray[np.float64]:
        """Average HU within the window over each organ; NaN where it is hardly there."""
        inside = window.inverse(window(torch.from_numpy(hu))).numpy()
        found = [inside[where] for where in self.organs]
        return np.array([values.mean(dtype=float) if len(values) >= LEAST_VOXELS else np.nan for values in found])

    def _read(self, role: str) -> NDArray[Any]:
        return np.asarray(nib.Nifti1Image.from_filename(self.item[role]).dataobj)


def measure(
    dataset_dir: Path, weights: Mapping[str, Weights], levels: Sequence[float] = LEVELS, split: str = "test"
) -> dict[str, Any]:
    """Measure weights, and the input as it is, on the patients of a split whose phase and level are known.

    Returns:
        ``patients``, their number; ``asked`` and ``between``, what :class:`~monai_nce.metrics.follow.Followed` finds,
        by row.

    Raises:
        InputError: if there are no such patients, a level is none, or weights have different windows.
    """
    for level in levels:
        check_contrast(level=level)
    window = common_window(weights.values())
    items = read_datalist(dataset_dir, split, ("target", "aligned_source", "labels"))
    items = [item for item in items if {"phase", "level"} <= item.keys()]
    if not items:
        raise InputError(f"{dataset_dir}: expected {split} patients of known phase and level but there are none")
    labels = read_datalist_file(dataset_dir)["provenance"]["labels"]
    asked: dict[str, Followed] = defaultdict(lambda: Followed(ORGANS))
    between: dict[str, Followed] = defaultdict(lambda: Followed(ORGANS))
    for item in tqdm(items, desc="contrast level", unit="patient"):
        patient, name, phase = Patient(item, labels), item["patient"], item["phase"]
        true, unchanged = (patient.means(hu, window) for hu in (patient.target, patient.source))
        scaled = {level: patient.means(patient.at_level(level), window) for level in levels}
        between[IDENTITY].add(true, unchanged, phase, name)
        for level in levels:
            asked[IDENTITY].add(scaled[level], unchanged, name, name)
        for path, one in weights.items():
            for told, contrast in {NOTHING: None, **({EVERYTHING: item} if one.takes_levels else {})}.items():
                made = patient.means(one.enhance(patient.source, contrast), window)
                between[f"{path}, {told}"].add(true, made, phase, name)
            for level in levels if one.takes_levels else ():
                made = patient.means(one.enhance(patient.source, {"phase": phase, "level": level}), window)
                asked[path].add(scaled[level], made, name, name)
    parts = {"asked": asked, "between": between}
    return {
        "patients": len(items),
        **{part: {row: values.summary() for row, values in rows.items()} for part, rows in parts.items()},
    }


def table(rows: Mapping[str, Mapping[str, Mapping[str, Any]]], key: str) -> str:
    """Lay out one figure of each row and organ in Markdown."""
    organs = [name for name in (ALL, *ORGANS) if any(name in row for row in rows.values())]
    lines = []
    for name, row in rows.items():
        values = [row.get(organ, {}).get(key) for organ in organs]
        cells = ["" if value is None else f"{value:.{1 if key == 'error' else 2}f}" for value in values]
        if interval := row[ALL].get(f"{key}_interval"):
            cells[0] += " [{:.2f}, {:.2f}]".format(*interval)
        lines.append([name, *cells])
    return markdown_table([name.replace("_", " ") for name in (key, *organs)], lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables and, with ``--out``, write the figures; return 2 for wrong input, said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, nargs="+", required=True, metavar="PATH")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    given = parser.parse_args(arguments)
    try:
        weights = {str(path): Weights(path) for path in given.weights}
        result = measure(given.data, weights, given.levels, given.split)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{result['patients']} {given.split} patients; all organs with a 95 % interval over patients\n")
    print("asked levels:", "", table(result["asked"], "slope"), "", sep="\n")
    for key in ("slope", "variance_ratio", "error"):
        print("between patients:", "", table(result["between"], key), "", sep="\n")
    if given.out:
        about = read_datalist_file(given.data)
        made_from = {key: value for key, value in about.get("provenance", {}).items() if key != "labels"}
        facts = {"data": about.get("name"), "data_made_from": made_from, "split": given.split}
        facts |= {"levels": list(given.levels), "hardware": host(), "torch": torch.__version__}
        facts["weights"] = {path: one.said.plain() for path, one in weights.items()}
        write_json(given.out, {**facts, **result})
    return 0


if __name__ == "__main__":
    sys.exit(main())
