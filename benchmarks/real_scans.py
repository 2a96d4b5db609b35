"""Measure what weights do on real scans: organ by organ, where nothing may rise, and whether it follows the anatomy.

    python -m benchmarks.real_scans [--checkpoint PATH] [--scans NAME|PATH ...] [--phase PHASE] [--out DIR]

Without ``--scans``, all scans of ``scan_catalogue.json`` in the folder ``NCE_REAL_DATA``. Everything goes through the
bundle's inference, from file to file. ``DIR`` gets ``real_scans.json`` and ``real_scans.md``, and for each scan a
picture of input, synthetic CECT and difference, and one of the regions that were measured.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.cell import CONFIGS
from benchmarks.enhance import enhance
from benchmarks.hardware import processor
from benchmarks.hu_distance import hu_distances
from benchmarks.probes import PROBES
from benchmarks.rise import FOLLOWED, ORGANS, checks, measure_rise, moved_rise
from benchmarks.scan_catalogue import CECT, Scan, catalogue, find_scans, real_data
from benchmarks.scan_pictures import draw_pair, draw_regions, draw_scan
from benchmarks.scan_regions import find_regions
from benchmarks.scan_tables import markdown
from benchmarks.slice_pairs import SlicePair, find_pairs, measure_pair
from monai_nce.data import atomic_path, write_json
from monai_nce.data.dataset.provenance import Provenance
from monai_nce.errors import find_input_error
from monai_nce.handlers import TrainedFor
from monai_nce.virtual import PHASES

__all__ = ["RealScans", "main"]


@dataclass
class RealScans:
    """Measure weights on real scans, one after the other.

    Args:
        checkpoint: the weights' file.
        weights: what they are, in words.
        phase: whose ranges of the literature the organs are judged by, one of :data:`monai_nce.virtual.PHASES`.
        out: folder for the pictures.
    """

    checkpoint: Path
    weights: str
    phase: str
    out: Path

    def enhance(self, volumes: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        """Run the bundle's inference; its last line, which tells where the files are, is of no use here."""
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            return enhance(volumes, Path(folder), checkpoint=str(self.checkpoint))

    def scan(self, scan: Scan) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
        """Enhance a scan as it is and moved, measure its regions, and draw it.

        Returns:
            What :func:`~benchmarks.rise.measure_rise` gives for ``identity`` and ``synthetic``, their ``checks``, and
            what probes ``moved``; and by method the voxels of each region.
        """
        hu, affine = scan.volume
        regions = find_regions(scan)
        probes = PROBES if set(FOLLOWED) & set(regions) else {}
        volumes = {str(number): probe.apply(hu, affine) for number, probe in enumerate(probes.values())}
        made = self.enhance({"scan": (hu, affine), **volumes})
        synthetic = made["scan"]
        measured = {
            method: measure_rise(hu, after, affine, regions, self.phase)
            for method, after in (("identity", hu), ("synthetic", synthetic))
        }
        moved = []
        for (title, probe), (number, (changed, _)) in zip(probes.items(), volumes.items(), strict=True):
            back = probe.undo(made[number] - changed, hu.shape, affine)
            moved += moved_rise(title, synthetic - hu, back, regions, probe.tolerance)
        draw_scan(hu, synthetic, affine, scan.name, f"Weights: {self.weights}.").save(self._picture(scan.name))
        draw_regions(hu, affine, regions, scan.name).save(self._picture(f"{scan.name}_regions"))
        result = {
            "about": scan.about,
            **measured,
            "checks": {method: [check.plain() for check in checks(of)] for method, of in measured.items()},
            "moved": moved,
        }
        after = {"identity": hu, "synthetic": synthetic}
        return result, {m: {name: of[mask] for name, mask in regions.items()} for m, of in after.items()}

    def real_target(self, scan: Scan) -> dict[str, np.ndarray]:
        """Take the voxels of each region of a real CECT, and draw the regions."""
        hu, affine = scan.volume
        regions = find_regions(scan)
        draw_regions(hu, affine, regions, scan.name).save(self._picture(f"{scan.name}_regions"))
        return {name: hu[mask] for name, mask in regions.items()}

    def pair(self, pair: SlicePair) -> dict[str, Any]:
        """Enhance and register two slices of a patient, measure the error that is left, and draw them."""
        synthetic = self.enhance({"slice": pair.moving.volume})["slice"] if pair.enhanced else None
        errors, images = measure_pair(pair, synthetic)
        draw_pair(images, pair.name, pair.enhanced).save(self._picture(pair.name.replace("/", "_")))
        return errors

    def measure(self, scans: Sequence[Scan], pairs: Sequence[SlicePair]) -> dict[str, Any]:
        """Measure all, with a bar."""
        rows: dict[str, Any] = {}
        real: dict[str, dict[str, np.ndarray]] = {}
        made: dict[str, dict[str, list[np.ndarray]]] = {"identity": {}, "synthetic": {}}
        errors: dict[str, Any] = {}
        for item in (bar := tqdm([*scans, *pairs], desc="real scans", unit="scan")):
            bar.set_postfix_str(item.name)
            if isinstance(item, SlicePair):
                errors[item.name] = self.pair(item)
            elif item.domain == CECT:
                real[item.name] = self.real_target(item)
            else:
                rows[item.name], voxels = self.scan(item)
                for method, regions in voxels.items():
                    for name, values in regions.items():
                        made[method].setdefault(name, []).append(values)
        targets = {organ: [of[organ] for of in real.values() if organ in of] for organ in ORGANS}
        return {
            "scans": rows,
            "distances": hu_distances(made, targets),
            "real": {name: {r: _mean(values) for r, values in of.items()} for name, of in real.items()},
            "pairs": errors,
        }

    def _picture(self, name: str) -> Path:
        return self.out / f"{name}.png"


def _mean(values: np.ndarray) -> dict[str, float]:
    return {"hu": float(values.mean()), "deviation": float(values.std())}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and write it with its pictures; return 2 for wrong input, which is said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--checkpoint", type=Path, default=CONFIGS.parent / "models" / "model.pt", help="default: the shipped weights")
    add(
        "--scans", nargs="+", default=[], metavar="NAME|PATH", help="default: all of the catalogue, and pairs of slices"
    )
    add("--phase", choices=PHASES, default="portal", help="whose ranges of the literature count (default: portal)")
    add("--out", type=Path, default=Path("runs/real_scans"), metavar="DIR", help="default: runs/real_scans")
    options = parser.parse_args(arguments)
    try:
        learnt = Provenance(TrainedFor.read(options.checkpoint).data).trained_on
        weights = f"{options.checkpoint.name}, trained on {learnt}"
        scans = find_scans(real_data(), options.scans)
        pairs = [] if options.scans else find_pairs(real_data() or Path(), catalogue()["pairs"])
        runner = RealScans(options.checkpoint, weights, options.phase, options.out)
        measured = runner.measure(scans, pairs)
    except Exception as error:
        if (cause := find_input_error(error)) is None:
            raise
        print(f"error: {cause}", file=sys.stderr)
        return 2
    given = ["--scans", *(scan.name for scan in scans)] if options.scans else []
    about = {
        "weights": weights,
        "phase": options.phase,
        "hardware": processor(),
        "command": " ".join(["python -m benchmarks.real_scans", *given, "--phase", options.phase]),
    }
    text = markdown({**about, **measured})
    write_json(options.out / "real_scans.json", {**about, **measured})
    with atomic_path(options.out / "real_scans.md") as partial:
        partial.write_text(text, encoding="utf-8")
    print(text)
    print(f"real_scans.json, real_scans.md and pictures are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
