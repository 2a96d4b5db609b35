"""Draw the paper's Figs. 2, 5, 6 and 8, and how `registered` aligns, from what :mod:`benchmarks.table1` has trained.

    python -m benchmarks.figures TABLE_DIR

Which patients and slices are shown is a rule, not a choice: of the test patients the first three, of each the slice in
which source and target differ most; of several distortions the largest.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import LoadImage
from tqdm import tqdm

from benchmarks.cell import CONFIGS, RESULT
from benchmarks.plan import METHODS, is_mri, parse_folder_name
from data_prep.registration import METHODS as REGISTRATIONS
from monai_nce import visualize
from monai_nce.data import dataset_kind, evaluation_pairs, read_datalist, read_datalist_file
from monai_nce.errors import InputError
from monai_nce.handlers import load_weights
from monai_nce.inferers import SliceStackInferer
from monai_nce.transforms import WindowHU
from monai_nce.visualize import Display, FigureRow, axial_slices

__all__ = ["draw_figures", "main"]

PATIENTS = 3
COMPARED = ("single", "cycle", "joint", "separate", "oracle")  # the paper's columns, and the ceiling
Cells = Mapping[str, "TrainedCell"]  # by method
Shown = Iterator[tuple[Mapping[str, str], dict[str, np.ndarray]]]  # a patient's images, and what each method made
load = LoadImage(reader="NibabelReader", ensure_channel_first=True)


@dataclass(frozen=True)
class TrainedCell:
    """Read a finished cell of the table; ``spec`` is what ``cell.json`` says about how it was made."""

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
            volume = load(path)
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
    # the last one of a method stays
    found = {cell.method: cell for cell in sorted(cells, key=lambda cell: (cell.distortion or 0, -cell.seed))}
    largest = max(cell.distortion or 0 for cell in cells)
    return {name: found[name] for name in METHODS if name in found and (found[name].distortion or 0) == largest}


def _row(item: Mapping[str, str], made: Mapping[str, np.ndarray], display: Display) -> FigureRow:
    """Show the slice in which the source, aligned where that is known, and the target differ most."""
    images = {role: axial_slices(load(item[role])) for role in ("source", "target", "aligned_source") if role in item}
    target, pixel_size = images["target"]
    source, aligned = images["source"][0], images.get("aligned_source", (None,))[0]
    change = display.difference(target, source if aligned is None else aligned)
    z = int(np.abs(change).mean(axis=(0, 1)).argmax())
    title = f"{item['patient']}, slice {z + 1} of {target.shape[2]}"
    shown = {name: volume[..., z] for name, volume in made.items()}
    truth = None if aligned is None else aligned[..., z]
    return FigureRow(title, source[..., z], target[..., z], shown, truth, pixel_size)


def _registered(cells: Cells, dataset_dir: str, display: Display) -> Shown:
    """Show registration on training patients, since test patients are never registered."""
    moved = {
        method: {item["patient"]: item["source"] for item in read_datalist(cell.spec["dataset_dir"], "training")}
        for method, cell in cells.items()
        if method in REGISTRATIONS
    }
    for item in _paired(dataset_dir, "training")[: PATIENTS - 1] if moved else ():
        yield item, {method: axial_slices(load(of[item["patient"]]))[0] for method, of in moved.items()}


def _synthetic_source(cells: Cells, dataset_dir: str, display: Display) -> Shown:
    """Show what the auxiliary network of the separate training makes of test patients."""
    if "separate" in cells:
        synthesize = cells["separate"].synthesizer("auxiliary")
        for item in _paired(dataset_dir, "test")[:PATIENTS]:
            yield item, {f"synthetic {display.source_name}": synthesize(item["target"])}


def _registered_to_synthetic(cells: Cells, dataset_dir: str, display: Display) -> Shown:
    """Show training patients of the registered row: what the source was registered to, and how it lies then."""
    moved = read_datalist(cells["registered"].spec["dataset_dir"], "training") if "registered" in cells else []
    of = {item["patient"]: item for item in moved}
    for item in _paired(dataset_dir, "training")[: PATIENTS - 1] if moved else ():
        volumes = {
            f"synthetic {display.source_name}": of[item["patient"]]["synthetic_source"],
            f"registered {display.source_name}": of[item["patient"]]["source"],
        }
        yield item, {name: axial_slices(load(path))[0] for name, path in volumes.items()}


def _compared(cells: Cells, dataset_dir: str, display: Display) -> Shown:
    """Show the paper's methods on the same slices of test patients; every method where there is none of them."""
    shown = {method: cell for method, cell in cells.items() if method in COMPARED} or cells
    synthesizers = {method: cell.synthesizer() for method, cell in shown.items()}
    for pair in evaluation_pairs(read_datalist(dataset_dir, "test"))[:PATIENTS]:
        item = {"patient": pair["patient"], "source": pair["image"], "target": pair["label"]}
        yield item, {method: synthesize(pair["image"]) for method, synthesize in synthesizers.items()}


def _paired(dataset_dir: str, split: str) -> list[dict[str, str]]:
    return [item for item in read_datalist(dataset_dir, split) if "source" in item and "target" in item]


def draw_figures(table_dir: Path) -> list[Path]:
    """Draw each figure for which there are finished cells, of which one is needed; return the PNG files."""
    cells = _finished(table_dir)
    base = next((cell for name, cell in cells.items() if name not in REGISTRATIONS), next(iter(cells.values())))
    dataset_dir, mri = base.spec["dataset_dir"], is_mri(base.spec["configs"])
    data = read_datalist_file(dataset_dir)
    display = Display(
        **{key: base.config[key] for key in ("source_name", "target_name", "window_level", "window_width", "unit")},
        data_name=str(data["name"]) + (f", k = {base.distortion:g}" if base.distortion else ""),
        kind=dataset_kind(data) or "real",
    )
    figures = {
        "fig2_registration.png": (visualize.draw_registration, _registered),
        "fig5_synthetic_source.png": (visualize.draw_synthetic_source, _synthetic_source),
        "registered.png": (visualize.draw_registered_source, _registered_to_synthetic),
        f"fig{8 if mri else 6}_comparison.png": (visualize.draw_comparison, _compared),
    }
    drawn = []
    for name, (draw, shown_by) in tqdm(figures.items(), desc="figures", unit="figure"):
        if rows := [_row(item, made, display) for item, made in shown_by(cells, dataset_dir, display)]:
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
