"""Measure what each stride of inference costs: steps from slice to slice, error and time.

    NCE_REAL_DATA=DIR python -m benchmarks.flicker [--checkpoint PATH] [--scans NAME|PATH ...] [--out FILE]

Flicker is the part of an organ's error, against stride 1, that depends on where in a stack a slice lies: the mean error
of the organ's slices that are first in their stack, of those in the middle, and so on; the greatest less the least of
these means. Each slice is computed in each place, by leaving out the scan's first slices, so that organs' own ups and
downs along z cancel. What chance alone gives stands beside it: the same where the places of each slice are shuffled.
Everything goes through the bundle's inference, from file to file, by PyTorch in fp32.

On phantoms, where the truth is known: the error, and the largest step between slices at a voxel where all slices of the
scan are identical.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.cell import CONFIGS
from benchmarks.enhance import enhance
from benchmarks.hardware import host
from benchmarks.markdown import markdown_table
from benchmarks.rise import ORGANS
from benchmarks.scan_catalogue import Scan, find_scans, real_data
from benchmarks.scan_regions import discs_mask, find_regions
from benchmarks.timing import spread
from benchmarks.weights import Weights
from monai_nce.data import write_json
from monai_nce.errors import find_input_error
from monai_nce.inferers import SliceStackInferer
from monai_nce.phantom import make_phantom_patient

__all__ = ["flicker", "joined_discs", "main", "organ_flicker", "phantom_cost", "table"]

SCANS = ("nect_abdomen", "nect_acrin_flt")
TEST_PATIENTS = range(18, 24)
SETTINGS = {"1": (1, True), "2": (2, True), "3": (3, True), "2, not blended": (2, False), "3, not blended": (3, False)}
LEAST_VOXELS = 20  # of an organ in a slice
SHUFFLES = 500
LEAST_PERIODS = 3  # of the stride that an organ's slices must make

Profile = NDArray[np.float64]  # a value for each slice, NaN where there is none


def flicker(profiles: Sequence[Profile]) -> tuple[float, float]:
    """Measure the part of errors along z that depends on a slice's place in its stack.

    Args:
        profiles: errors of each slice of the whole volume, once for each number of first slices left out, from 0 up to
            the stride less 1. What counts is the longest run of slices that all of them have.

    Returns:
        The greatest less the least mean over the slices of one place, and how much that is on average where the places
        of each slice are shuffled; NaN for fewer than three periods.

    >>> flicker([np.array([9.0, 4, 9, 4, 9, 4]), np.array([4.0, 9, 4, 9, 4, 9])])[0]
    5.0
    """
    stride, errors = len(profiles), np.array(profiles)
    there = np.flatnonzero(np.isfinite(errors).all(0))
    slices = max(np.split(there, np.flatnonzero(np.diff(there) > 1) + 1), key=len)
    if len(slices) < LEAST_PERIODS * stride:
        return float("nan"), float("nan")
    by_place = np.array([errors[(z - np.arange(stride)) % stride, z] for z in slices])
    rng = np.random.default_rng(0)
    shuffled = [np.ptp(rng.permuted(by_place, axis=1).mean(0)) for _ in range(SHUFFLES)]
    return float(np.ptp(by_place.mean(0))), float(np.mean(shuffled))


def organ_flicker(scan: Scan, checkpoint: Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[float]]]:
    """Measure flicker and chance in each region of a scan, and the seconds of each volume, by setting."""
    hu, affine = scan.volume
    regions = find_regions(scan) | joined_discs(scan)
    reference, _ = _enhance(hu, affine, checkpoint, 1, True)
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {}
    for name, (stride, blend) in (bar := tqdm(SETTINGS.items(), desc=scan.name, unit="setting")):
        bar.set_postfix_str(name)
        profiles: dict[str, list[Profile]] = {region: [] for region in regions}
        seconds[name] = []
        for first in range(stride):
            moved = affine.copy()
            moved[:, 3] = affine @ [0, 0, first, 1]
            made, took = _enhance(hu[..., first:], moved, checkpoint, stride, blend)
            seconds[name].append(took)
            error = made - reference[..., first:]
            error[..., : 2 * stride - first] = error[..., -2 * stride :] = np.nan  # the last stacks overlap more
            for region, mask in regions.items():
                profiles[region].append(np.append([np.nan] * first, _slice_means(error, mask[..., first:])))
        found[name] = {region: value for region, of in profiles.items() if np.isfinite(value := flicker(of)).all()}
    return found, seconds


def joined_discs(scan: Scan) -> dict[str, NDArray[np.bool_]]:
    """Mark each organ that was marked by discs in the slices between them too, by discs from one to the next."""
    hu, affine = scan.volume
    heights = affine[2, 3] + affine[2, 2] * np.arange(hu.shape[2])
    joined = {}
    for name in set(ORGANS) & set(scan.discs):
        x, y, z, radius = np.array(sorted(scan.discs[name], key=lambda disc: disc[2])).T
        between = heights[(heights >= z[0]) & (heights <= z[-1])]
        discs = np.stack([np.interp(between, z, x), np.interp(between, z, y), between, np.interp(between, z, radius)])
        joined[name] = discs_mask(discs.T.tolist(), hu.shape, affine)
    return joined


def _enhance(
    hu: NDArray[np.float32], affine: Profile, checkpoint: Path, stride: int, blend: bool
) -> tuple[NDArray[np.float32], float]:
    """Run the bundle's inference on a scan; return synthetic HU, and the seconds from file to file."""
    flags = {"stride": stride, "inferer#blend": blend, "backend": "torch", "precision": "fp32"}
    said = io.StringIO()  # the same lines for each
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        start = time.perf_counter()
        made = enhance({"scan": (hu, affine)}, Path(folder), checkpoint=str(checkpoint), **flags)
        return made["scan"], time.perf_counter() - start


def _slice_means(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> Profile:
    """Average over a region in each slice; NaN where it is small."""
    count = mask.sum((0, 1))
    total = np.where(mask, values, 0).sum((0, 1), dtype=float)
    return np.where(count >= LEAST_VOXELS, total / np.maximum(count, 1), np.nan)


def phantom_cost(weights: Weights, stride: int, blend: bool) -> dict[str, float]:
    """Measure the ``mse`` on [-1, 1] on the phantom's test patients, and the largest ``step`` in HU.

    The step is that of any voxel between the slices of a scan which are all the same, without the outermost two.
    """
    weights.inferer = SliceStackInferer(weights.network.slices, stride=stride, blend=blend)
    patients = [make_phantom_patient(number) for number in TEST_PATIENTS]
    window = weights.window.window_width / 2
    errors = []
    for patient in patients:
        made = weights.enhance(patient.nect_aligned.astype(np.float32))
        true = weights.window.inverse(weights.window(torch.from_numpy(patient.cect.astype(np.float32)))).numpy()
        errors.append(np.square((made - true) / window).mean())
    nect = patients[0].nect.astype(np.float32)
    same = np.repeat(nect[..., nect.shape[2] // 2, None], 4 * weights.network.slices, axis=2)
    return {"mse": float(np.mean(errors)), "step": float(np.ptp(weights.enhance(same)[..., 1:-1], axis=2).max())}


def table(scans: Mapping[str, Mapping[str, Mapping[str, Any]]], costs: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out a row for each setting in Markdown: the worst region of each scan, and what phantoms say."""
    head = ["stride", *(f"flicker, {name}" for name in scans), "step at a voxel", "MSE"]
    rows = []
    for name, cost in costs.items():
        worst = [max(of[name].items(), key=lambda item: item[1]) for of in scans.values()]
        cells = [f"{hu:.1f} HU ({region.replace('_', ' ')}; {chance:.1f} by chance)" for region, (hu, chance) in worst]
        rows.append([name, *cells, f"{cost['step']:.1f} HU", f"{cost['mse']:.4f}"])
    return markdown_table(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, with ``--out``, write the figures; return 2 for wrong input, said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--checkpoint", type=Path, default=CONFIGS.parent / "models" / "model.pt", help="default: the shipped weights")
    add("--scans", nargs="+", default=SCANS, metavar="NAME|PATH", help=f"default: {' '.join(SCANS)}")
    add("--out", type=Path, help="JSON file for the figures")
    options = parser.parse_args(arguments)
    try:
        weights = Weights(options.checkpoint)
        costs = {name: phantom_cost(weights, *setting) for name, setting in SETTINGS.items()}
        scans = {scan.name: organ_flicker(scan, options.checkpoint) for scan in find_scans(real_data(), options.scans)}
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2
    found = {name: regions for name, (regions, _) in scans.items()}
    print(table(found, costs))
    if options.out:
        facts = {"weights": weights.said.plain(), "hardware": host(), "torch": torch.__version__}
        seconds = {name: {setting: spread(of) for setting, of in took.items()} for name, (_, took) in scans.items()}
        write_json(options.out, {**facts, "flicker": found, "seconds": seconds, "phantoms": costs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
