"""The paper's Figs. 2, 5, 6 and 8 from what :mod:`benchmarks.table1` has trained.

    python -m benchmarks.figures TABLE_DIR [--distortion K]

Which patients and slices are shown is a rule, not a choice: of the test patients the first three, of each the slice in
which source and target differ most.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """A finished cell of the table: its place there and what ``cell.json`` says of its making."""

    method: str
    distortion: float | None
    seed: int
    spec: dict[str, Any]

    def network(self, name: str) -> torch.nn.Module:
        """``network`` or ``auxiliary`` with its trained weights."""
        parser = self._parser()
        network = parser.get_parsed_content(f"{name}_def", instantiate=True)
        file = {"network": "model.pt", "auxiliary": "auxiliary.pt"}[name]
        load_weights(network, Path(self.spec["out_dir"]) / "models" / file)
        return network.eval()

    def setting(self, key: str) -> Any:
        """A value of its configuration."""
        return self._parser()[key]

    def _parser(self) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config([CONFIGS / f"{name}.json" for name in self.spec["configs"]])
        parser.update(self.spec["overrides"])
        return parser


def _finished(table_dir: Path, distortion: float | None) -> dict[str, TrainedCell]:
    """The cells of the first seed, by method; of the largest distortion unless one is given."""
    cells = []
    for file in (table_dir / "cells").glob(f"*/{RESULT}"):
        if named := parse_folder_name(file.parent.name):
            cells.append(TrainedCell(*named, json.loads(file.read_text(encoding="utf-8"))["spec"]))
    found: dict[tuple[str, float | None], TrainedCell] = {}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        found.setdefault((cell.method, cell.distortion), cell)
    distortions = {k for _, k in found}
    if not found:
        raise InputError(f"{table_dir}: holds no finished cell of python -m benchmarks.table1")
    if distortion is None and None not in distortions:
        distortion = max(k for k in distortions if k is not None)
    if distortion not in distortions:
        known = ", ".join(f"{k:g}" for k in sorted(k for k in distortions if k is not None)) or "none"
        raise InputError(f"distortion: {table_dir} has {known} but not {distortion}")
    return {method: found[method, distortion] for method in METHODS if (method, distortion) in found}


def _load(path: str) -> MetaTensor:
    image = nib.Nifti1Image.from_filename(path)
    return MetaTensor(torch.from_numpy(np.asarray(image.dataobj, dtype=np.float32))[None], affine=image.affine)


def _synthesize(network: torch.nn.Module, volume: MetaTensor, window: WindowHU, slices: int) -> MetaTensor:
    """A whole volume through a network, in HU."""
    with torch.no_grad():
        intensity = SliceStackInferer(slices=slices)(window(volume.as_tensor())[None], network)[0]
    return MetaTensor(window.inverse(intensity), affine=volume.affine)


def _shown(volume: MetaTensor) -> np.ndarray:
    return axial_slices(volume)[0]


def _most_change(source: np.ndarray, target: np.ndarray, display: Display) -> int:
    return int(np.abs(display.difference(target, source)).mean(axis=(0, 1)).argmax())


def draw_figures(table_dir: Path, distortion: float | None = None, progress: bool = True) -> list[Path]:
    """Draw each figure for which the cells are there.

    Args:
        table_dir: output folder of the table.
        distortion: the k to show; the largest if None.
        progress: show a bar.

    Returns:
        The PNG files, in ``table_dir/figures``.

    Raises:
        InputError: if the folder holds no finished cell, or none of that distortion.
    """
    cells = _finished(table_dir, distortion)
    first = next(iter(cells.values()))
    base = next((cell for name, cell in cells.items() if name not in REGISTRATIONS), first)
    dataset_dir = base.spec["dataset_dir"]
    mri = is_mri(base.spec["configs"])
    data_name = str(read_datalist_file(dataset_dir)["name"])
    display = Display(
        **{key: base.setting(key) for key in ("source_name", "target_name", "window_level", "window_width")},
        unit="" if mri else "HU",
        data_name=data_name + (f", k = {base.distortion:g}" if base.distortion else ""),
    )
    folder = table_dir / "figures"
    drawn = []
    tasks = {
        "fig2_registration.png": lambda path: _fig2(path, cells, dataset_dir, display),
        "fig5_synthetic_source.png": lambda path: _fig5(path, cells, dataset_dir, display),
        f"fig{8 if mri else 6}_comparison.png": lambda path: _fig6(path, cells, dataset_dir, display),
    }
    for name, draw in tqdm(tasks.items(), desc="figures", unit="figure", disable=not progress):
        if draw(folder / name):
            drawn.append(folder / name)
    return drawn


def _fig2(path: Path, cells: Mapping[str, TrainedCell], dataset_dir: str, display: Display) -> bool:
    """Registration of training patients, since the test's are never registered."""
    methods = [method for method in REGISTRATIONS if method in cells]
    if not methods:
        return False
    registered = {
        method: {item["patient"]: item for item in read_datalist(cells[method].spec["dataset_dir"], "training")}
        for method in methods
    }
    rows = []
    items = [item for item in read_datalist(dataset_dir, "training") if "source" in item and "target" in item]
    for item in items[: PATIENTS - 1]:
        target, source = _load(item["target"]), _load(item["source"])
        shown, pixel = axial_slices(target)
        moving = _shown(source)
        z = _most_change(moving, shown, display)
        aligned = _shown(_load(item["aligned_source"]))[..., z] if "aligned_source" in item else None
        moved = {name: _shown(_load(of[item["patient"]]["source"]))[..., z] for name, of in registered.items()}
        title = f"{item['patient']}, slice {z + 1} of {shown.shape[2]}"
        rows.append(FigureRow(title, moving[..., z], shown[..., z], moved, aligned, pixel))
    draw_registration(rows, display).save(path)
    return True


def _fig5(path: Path, cells: Mapping[str, TrainedCell], dataset_dir: str, display: Display) -> bool:
    """What the auxiliary network of the separate training makes of test patients."""
    cell = cells.get("separate")
    if cell is None:
        return False
    network, slices, made = cell.network("auxiliary"), cell.setting("slices"), f"synthetic {display.source_name}"
    window = WindowHU(display.window_level, display.window_width)
    rows = []
    items = [item for item in read_datalist(dataset_dir, "test") if "source" in item and "target" in item]
    for item in items[:PATIENTS]:
        target = _load(item["target"])
        shown, pixel = axial_slices(target)
        source, synthetic = _shown(_load(item["source"])), _shown(_synthesize(network, target, window, slices))
        aligned = _shown(_load(item["aligned_source"])) if "aligned_source" in item else None
        z = _most_change(source if aligned is None else aligned, shown, display)
        title = f"{item['patient']}, slice {z + 1} of {shown.shape[2]}"
        at = None if aligned is None else aligned[..., z]
        rows.append(FigureRow(title, source[..., z], shown[..., z], {made: synthetic[..., z]}, at, pixel))
    draw_synthetic_source(rows, display).save(path)
    return True


def _fig6(path: Path, cells: Mapping[str, TrainedCell], dataset_dir: str, display: Display) -> bool:
    """The paper's methods on the same slices of test patients; every method where there is none of them."""
    window = WindowHU(display.window_level, display.window_width)
    compared = {method: cell for method, cell in cells.items() if method in COMPARED} or cells
    networks = {method: cell.network("network") for method, cell in compared.items()}
    slices = next(iter(cells.values())).setting("slices")
    rows = []
    for pair in evaluation_pairs(read_datalist(dataset_dir, "test"))[:PATIENTS]:
        image, label = _load(pair["image"]), _load(pair["label"])
        source, pixel = axial_slices(image)
        target = _shown(label)
        z = _most_change(source, target, display)
        made = {name: _shown(_synthesize(net, image, window, slices))[..., z] for name, net in networks.items()}
        title = f"{pair['patient']}, slice {z + 1} of {target.shape[2]}"
        rows.append(FigureRow(title, source[..., z], target[..., z], made, pixel_size=pixel))
    draw_comparison(rows, display).save(path)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Args: arguments: the command line. Returns: the exit code, 2 for wrong input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description="Figs. 2, 5, 6 and 8.")
    parser.add_argument("table_dir", type=Path, metavar="TABLE_DIR", help="what python -m benchmarks.table1 wrote")
    parser.add_argument("--distortion", type=float, metavar="K", help="the k to show (default: the largest)")
    options = parser.parse_args(arguments)
    try:
        for path in draw_figures(options.table_dir, options.distortion):
            print(path)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
