"""Draw the paper's Figs. 2, 5, 6 and 8 from what :mod:`benchmarks.table1` has trained.

    python -m benchmarks.figures TABLE_DIR

Which patients and slices are shown is a rule, not a choice: of the test patients the first three, of each the slice in
which source and target differ most; of several distortions the largest.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from tqdm import tqdm

from benchmarks.cell import CONFIGS, RESULT, parse_folder_name
from benchmarks.plan import METHODS, is_mri
from data_prep.registration import METHODS as REGISTRATIONS
from monai_nce.data import evaluation_pairs, read_datalist, read_datalist_file
from monai_nce.errors import InputError
from monai_nce.handlers import load_weights
from monai_nce.inferers import SliceStackInferer
from monai_nce.transforms import WindowHU
from monai_nce.visualize import (
    Display,
    FigureRow,
    axial_slices,
    draw_comparison,
    draw_registration,
    draw_synthetic_source,
)

__all__ = ["draw_figures", "main"]

PATIENTS = 3
COMPARED = ("single", "cycle", "joint", "separate", "oracle")  # the paper's columns, and the ceiling


@dataclass(frozen=True)
class TrainedCell:
    """A finished cell of the table, with what ``cell.json`` says about how it was made."""

    method: str
    distortion: float | None
    seed: int
    spec: dict[str, Any]

    @cached_property
    def config(self) -> ConfigParser:
        """Its configuration."""
        parser = ConfigParser()
        parser.read_config([CONFIGS / f"{name}.json" for name in self.spec["configs"]])
        parser.update(self.spec["overrides"])
        return parser

    def synthesizer(self, name: str = "network") -> Callable[[str], np.ndarray]:
        """Load its ``network`` or ``auxiliary`` network; return a function from a file to synthetic slices in HU."""
        network = self.config.get_parsed_content(f"{name}_def", instantiate=True)
        file = {"network": "model.pt", "auxiliary": "auxiliary.pt"}[name]
        load_weights(network, Path(self.spec["out_dir"]) / "models" / file)
        network.eval()
        window = WindowHU(self.config["window_level"], self.config["window_width"])
        inferer = SliceStackInferer(slices=self.config["slices"])

        def synthesize(path: str) -> np.ndarray:
            volume = _load(path)
            with torch.no_grad():
                intensity = inferer(window(volume.as_tensor())[None], network)[0]
            return axial_slices(MetaTensor(window.inverse(intensity), affine=volume.affine))[0]

        return synthesize


def _finished(table_dir: Path) -> dict[str, TrainedCell]:
    """Find the cells of the largest distortion and the first seed, by method."""
    cells = []
    for file in (table_dir / "cells").glob(f"*/{RESULT}"):
        if named := parse_folder_name(file.parent.name):
            cells.append(TrainedCell(*named, json.loads(file.read_text(encoding="utf-8"))["spec"]))
    if not cells:
        raise InputError(f"{table_dir}: holds no finished cell of python -m benchmarks.table1")
    largest = max(cell.distortion or 0 for cell in cells)
    first = sorted((c for c in cells if (c.distortion or 0) == largest), key=lambda c: c.seed, reverse=True)
    found = {cell.method: cell for cell in first}
    return {method: found[method] for method in METHODS if method in found}


def _load(path: str) -> MetaTensor:
    image = nib.Nifti1Image.from_filename(path)
    return MetaTensor(torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32))[None], affine=image.affine)


def _row(item: Mapping[str, str], made: Mapping[str, np.ndarray], display: Display) -> FigureRow:
    """Show the slice in which the source, aligned where that is known, and the target differ most."""
    target, pixel_size = axial_slices(_load(item["target"]))
    source = axial_slices(_load(item["source"]))[0]
    aligned = axial_slices(_load(item["aligned_source"]))[0] if "aligned_source" in item else None
    change = display.difference(target, source if aligned is None else aligned)
    z = int(np.abs(change).mean(axis=(0, 1)).argmax())
    title = f"{item['patient']}, slice {z + 1} of {target.shape[2]}"
    shown = {name: volume[..., z] for name, volume in made.items()}
    truth = None if aligned is None else aligned[..., z]
    return FigureRow(title, source[..., z], target[..., z], shown, truth, pixel_size)


def _registered(cells: Mapping[str, TrainedCell], dataset_dir: str, display: Display) -> list[FigureRow]:
    """Show registration on training patients, since test patients are never registered."""
    moved = {
        method: {item["patient"]: item["source"] for item in read_datalist(cell.spec["dataset_dir"], "training")}
        for method, cell in cells.items()
        if method in REGISTRATIONS
    }
    rows = []
    for item in _paired(dataset_dir, "training")[: PATIENTS - 1] if moved else ():
        made = {method: axial_slices(_load(of[item["patient"]]))[0] for method, of in moved.items()}
        rows.append(_row(item, made, display))
    return rows


def _synthetic_source(cells: Mapping[str, TrainedCell], dataset_dir: str, display: Display) -> list[FigureRow]:
    """Show what the auxiliary network of the separate training makes of test patients."""
    if "separate" not in cells:
        return []
    synthesize, name = cells["separate"].synthesizer("auxiliary"), f"synthetic {display.source_name}"
    return [_row(item, {name: synthesize(item["target"])}, display) for item in _paired(dataset_dir, "test")[:PATIENTS]]


def _compared(cells: Mapping[str, TrainedCell], dataset_dir: str, display: Display) -> list[FigureRow]:
    """Show the paper's methods on the same slices of test patients; every method where there is none of them."""
    shown = {method: cell for method, cell in cells.items() if method in COMPARED} or cells
    synthesizers = {method: cell.synthesizer() for method, cell in shown.items()}
    rows = []
    for pair in evaluation_pairs(read_datalist(dataset_dir, "test"))[:PATIENTS]:
        made = {method: synthesize(pair["image"]) for method, synthesize in synthesizers.items()}
        item = {"patient": pair["patient"], "source": pair["image"], "target": pair["label"]}
        rows.append(_row(item, made, display))
    return rows


def _paired(dataset_dir: str, part: str) -> list[dict[str, Any]]:
    return [item for item in read_datalist(dataset_dir, part) if "source" in item and "target" in item]


def draw_figures(table_dir: Path, progress: bool = True) -> list[Path]:
    """Draw each figure for which the cells are there; return the PNG files, in ``table_dir/figures``.

    Args:
        table_dir: output folder of the table.
        progress: show a bar.

    Raises:
        InputError: if the folder holds no finished cell.
    """
    cells = _finished(table_dir)
    base = next((cell for name, cell in cells.items() if name not in REGISTRATIONS), next(iter(cells.values())))
    dataset_dir, mri = base.spec["dataset_dir"], is_mri(base.spec["configs"])
    data_name = str(read_datalist_file(dataset_dir)["name"])
    display = Display(
        **{key: base.config[key] for key in ("source_name", "target_name", "window_level", "window_width", "unit")},
        data_name=data_name + (f", k = {base.distortion:g}" if base.distortion else ""),
    )
    figures = {
        "fig2_registration.png": (draw_registration, _registered),
        "fig5_synthetic_source.png": (draw_synthetic_source, _synthetic_source),
        f"fig{8 if mri else 6}_comparison.png": (draw_comparison, _compared),
    }
    drawn = []
    for name, (draw, rows_of) in tqdm(figures.items(), desc="figures", unit="figure", disable=not progress):
        if rows := rows_of(cells, dataset_dir, display):
            drawn.append(table_dir / "figures" / name)
            draw(rows, display).save(drawn[-1])
    return drawn


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the figures of a table's folder; return 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description="Figs. 2, 5, 6 and 8.")
    parser.add_argument("table_dir", type=Path, metavar="TABLE_DIR", help="what python -m benchmarks.table1 wrote")
    options = parser.parse_args(arguments)
    try:
        for path in draw_figures(options.table_dir):
            print(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
