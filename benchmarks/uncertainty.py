"""Calibrate margins of error for weights on virtual patients, and measure whether they hold in others.

    python -m benchmarks.uncertainty --data DIR [--weights PATH] [--test NAME=DIR …] [--out NAME] [--calibration FILE]

DIR is a data set with aligned sources, targets and labels, as ``data_prep virtual`` makes: half-widths are fitted on
its training patients and calibrated on its test patients; none of them may have trained the weights. Each ``--test`` is
a data set of such patients whose test patients neither has seen. ``auxiliary.pt`` lies beside the weights. Where
``NCE_REAL_DATA`` holds pairs of slices of one patient, coverage is measured on them too, after registration.

NAME.json and NAME.md get the figures, NAME.png the sparsification curve and a slice; ``--calibration`` writes the file
that inference reads, by default where it looks for it, beside the weights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import torch
from tqdm import tqdm

from benchmarks.hardware import host
from benchmarks.margin_statistics import LEFT_OUT, Judged, judge_coverage, judge_order, sparsification
from benchmarks.markdown import markdown_table
from benchmarks.scan_catalogue import catalogue, real_data
from benchmarks.slice_pairs import find_pairs, measure_pair
from benchmarks.weights import Weights
from monai_nce import enhance
from monai_nce.bundle_folder import bundle_folder
from monai_nce.data import SPLITS, atomic_path, read_datalist, read_datalist_file, write_json
from monai_nce.data.files.sha256 import file_sha256
from monai_nce.errors import InputError
from monai_nce.inferers import SliceStackInferer
from monai_nce.transforms import body_mask
from monai_nce.uncertainty import (
    CALIBRATION,
    SIGNALS,
    Calibration,
    HalfWidth,
    Signals,
    conformal_quantile,
    coverage_factor,
    fewest_patients,
    fit_half_width,
)
from monai_nce.visualize import radiological

__all__ = ["calibrate", "main", "measure"]

COVERAGE = 0.9
DRAWN = 400  # voxels of each structure of a patient, for the fit
# no organs: lesions are too few, and what is in the bowel is anyone's guess
NOT_ORGANS: tuple[str, ...] = (
    "air",
    "bowel_gas",
    "oral_contrast",
    "calcification",
    "fluid",
    "cyst",
    "mass",
    "liver_metastasis",
)
NOT_ORGANS += ("hepatocellular_carcinoma", "haemangioma", "renal_cell_carcinoma")
ROLES = ("aligned_source", "target", "labels")


class Networks:
    """Hold target and auxiliary network, and measure signals and errors with them.

    Raises:
        InputError: if a file is missing.
    """

    def __init__(self, path: Path, auxiliary: Path) -> None:
        self.path, self.auxiliary = path, auxiliary
        self.weights, self.back = Weights(path), Weights(auxiliary)
        inferer = SliceStackInferer(self.weights.network.slices, spread=True)
        self.signals = Signals(inferer, self.back.network, self.weights.window.window_width)

    def judge(self, item: Mapping[str, Any]) -> tuple[Judged, tuple[np.ndarray, ...]]:
        """Enhance a patient and return its voxels within the body, with NECT, synthetic image and body in 3-D."""
        source, target, labels = (np.asarray(nib.Nifti1Image.from_filename(item[role]).dataobj) for role in ROLES)
        window = self.weights.window
        with torch.inference_mode():
            image = window(torch.from_numpy(source.astype(np.float32)))[None, None]
            made, signals = self.signals(image, self.weights.network)
            change = ((made - image) * (window.window_width / 2))[0, 0].numpy()
        body = body_mask(source[None])[0]
        synthetic = source + change  # what lies beyond the window is carried over, as inference does
        return (
            Judged((synthetic - target)[body], labels[body], signals=signals[0].numpy()[:, body].astype(np.float16)),
            (source, synthetic, target, body),
        )


def measure(networks: Networks, dataset_dir: Path, split: str) -> Iterator[tuple[Judged, tuple[np.ndarray, ...]]]:
    """Give the patients of a split, one by one.

    Raises:
        InputError: if there is none.
    """
    items = read_datalist(dataset_dir, split, ROLES)
    if not items:
        raise InputError(f"{dataset_dir}: expected {split} patients with aligned pairs and labels but there are none")
    for item in tqdm(items, desc=f"{dataset_dir.name} {split}", unit="patient"):
        yield networks.judge(item)


def draw(patient: Judged, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw voxels of a patient, as many of each structure: signals ``(N, 10)`` and absolute errors ``(N,)``."""
    found = []
    for number in np.unique(patient.labels):
        where = np.flatnonzero(patient.labels == number)
        found.append(rng.choice(where, min(DRAWN, len(where)), replace=False))
    drawn = np.concatenate(found)
    signals = torch.from_numpy(patient.signals[:, drawn].T.astype(np.float32))
    return signals, torch.from_numpy(np.abs(patient.errors[drawn]))


def with_widths(patient: Judged, half_width: HalfWidth, keep_signals: bool = False) -> Judged:
    """Return a patient with the half-widths of its signals."""
    widths = half_width(torch.from_numpy(patient.signals.astype(np.float32))[None])[0, 0].numpy()
    signals = patient.signals if keep_signals else patient.signals[:, :0]
    return Judged(patient.errors, patient.labels, widths, signals)


def calibrate(
    patients: Sequence[Judged], organs: Mapping[str, int]
) -> tuple[float, dict[str, float], dict[str, float]]:
    """Find factors and margins of means.

    Args:
        patients: with half-widths before calibration; none that they were fitted on.
        organs: numbers of the structures by name.

    Returns:
        The factor for the body, those of the organs, and by how many HU means of organs may be off. Organs that too few
        of the patients have are left out.
    """
    ratios = [np.abs(one.errors) / one.widths for one in patients]
    factors, means = {}, {}
    for name, number in organs.items():
        parts = [
            (one, ratio, where)
            for one, ratio in zip(patients, ratios, strict=True)
            if (where := one.part(number)) is not None
        ]
        if len(parts) < fewest_patients(COVERAGE):
            continue
        factor = coverage_factor([ratio[where] for _, ratio, where in parts], COVERAGE)
        off = [abs(float(one.errors[where].mean())) for one, _, where in parts]
        factors[name], means[name] = round(factor, 4), round(conformal_quantile(off, COVERAGE), 2)
    return round(coverage_factor(ratios, COVERAGE), 4), factors, means


def judge(patients: Sequence[Judged], organs: Mapping[str, int], made: Calibration, constant: float) -> dict[str, Any]:
    """Measure coverage and order in patients whose half-widths are not yet multiplied; ``constant`` is the floor."""
    plain = [Judged(one.errors, one.labels, np.full_like(one.widths, constant)) for one in patients]
    scaled = [Judged(one.errors, one.labels, one.widths * made.body, one.signals) for one in patients]
    by_organ = {}
    for name, number in organs.items():
        if (found := judge_coverage(scaled, number))["patients"] and name in made.organs:
            own = judge_coverage(patients, number, made.organs[name])
            wide = judge_coverage(patients, number, made.factor("organs"))
            off = [abs(float(one.errors[where].mean())) for one in patients if (where := one.part(number)) is not None]
            by_organ[name] = {
                **found,
                "own_coverage": own["coverage"],
                "own_width": own["width"],
                "organs_coverage": wide["coverage"],
                "constant_coverage": judge_coverage(plain, number)["coverage"],
                **judge_order(scaled, number),
                "mean_margin": made.organ_means[name],
                "mean_coverage": float(np.mean(np.array(off) <= made.organ_means[name])),
            }
    return {
        "body": {**judge_coverage(scaled), **judge_order(scaled)},
        "constant": judge_coverage(plain),
        "signals": {name: judge_order(scaled, signal=at) for at, name in enumerate(SIGNALS)}
        if scaled[0].signals.shape[1]
        else {},
        "organs": by_organ,
        "sparsification": sparsification(scaled),
    }


def judge_pairs(networks: Networks) -> dict[str, Any]:
    """Measure coverage on pairs of real slices, after registration; empty without them."""
    folder = real_data()
    found: dict[str, Any] = {}
    pairs = catalogue()["pairs"]
    if folder is None or not all((folder / pair["fixed"]).exists() for pair in pairs.values()):
        return found
    for pair in find_pairs(folder, pairs):
        hu, affine = pair.moving.volume
        enhanced = enhance(nib.Nifti1Image(hu.astype(np.int16), affine), networks.path, uncertainty=True)
        assert enhanced.half_width is not None
        width = enhanced.half_width.numpy()
        _, images = measure_pair(pair, enhanced.numpy() if pair.enhanced else None, others={"half_width": width})
        body = body_mask(images["fixed"][None, ..., None])[0, ..., 0]
        rows = {}
        for name in ("synthetic", "identity"):
            if name in images:
                error = np.abs(images[name] - images["fixed"])[body]
                rows[name] = {
                    "coverage": float((error <= images["half_width"][body]).mean()),
                    "mae": float(error.mean()),
                }
        found[pair.name] = {"enhanced": pair.enhanced, "width": float(images["half_width"][body].mean()), **rows}
    return found


def page(results: Mapping[str, Any]) -> str:
    """Lay the figures out in Markdown."""

    def number(value: float | None, form: str = ".2f") -> str:
        return "" if value is None else format(value, form)

    made = results["calibration"]
    parts = ["# Margins of error", f"Nominal coverage {COVERAGE:.0%}. {results['about']}"]
    head = ["patients", "number", "covered voxels", "patients with 90 % covered", "half-width, HU", "Spearman", "AUC"]
    rows = []
    for name, of in results["tests"].items():
        body = of["body"]
        forms = {"coverage": ".3f", "kept": ".2f", "width": ".1f", "correlation": ".2f", "auc": ".2f"}
        of_constant = {**of["constant"], "correlation": 0.0, "auc": 0.5}
        rows.append([name, str(body["patients"]), *(number(body[key], form) for key, form in forms.items())])
        rows.append([f"{name}, constant", rows[-1][1], *(number(of_constant[key], f) for key, f in forms.items())])
    parts += ["## Within the body", markdown_table(head, rows)]
    for name, of in results["tests"].items():
        columns = {
            **{"patients": "d", "coverage": ".3f", "width": ".1f", "own_coverage": ".3f", "own_width": ".1f"},
            **{
                "constant_coverage": ".3f",
                "organs_coverage": ".3f",
                "correlation": ".2f",
                "auc": ".2f",
                "mean_margin": ".1f",
                "mean_coverage": ".2f",
            },
        }
        heads = ["organ", "patients", "covered", "half-width, HU", "covered with its own factor", "half-width"]
        heads += [
            "covered by the constant",
            "covered for organs",
            "Spearman",
            "AUC",
            "mean may be off, HU",
            "patients whose mean is not",
        ]
        lines = [
            [organ.replace("_", " "), *(number(row[key], form) for key, form in columns.items())]
            for organ, row in of["organs"].items()
        ]
        parts += [f"## Organs: {name}", markdown_table(heads, lines)]
        curve = of["sparsification"]
        lines = [[key, *(number(value, ".1f") for value in curve[key])] for key in ("margins", "oracle", "constant")]
        parts += [
            f"## Mean absolute error in HU of what is left: {name}",
            markdown_table(["left out", *(f"{share:.0%}" for share in LEFT_OUT)], lines),
        ]
        if of["signals"]:
            lines = [[key, number(row["correlation"]), number(row["auc"])] for key, row in of["signals"].items()]
            parts += [f"## Signals alone: {name}", markdown_table(["signal", "Spearman", "AUC"], lines)]
    if results["pairs"]:
        lines = []
        for name, of in results["pairs"].items():
            for method in ("synthetic", "identity"):
                if method in of:
                    cells = [
                        number(of[method]["coverage"], ".3f"),
                        number(of[method]["mae"], ".1f"),
                        number(of["width"], ".1f"),
                    ]
                    lines.append([name, "with" if of["enhanced"] else "without", method, *cells])
        heads = ["pair", "contrast medium", "image", "covered pixels", "MAE, HU", "half-width, HU"]
        parts += ["## Real slices of one patient on two days, after registration", markdown_table(heads, lines)]
    factors = [
        [name.replace("_", " "), f"{value:.2f}", f"{made['organ_means'][name]:.1f}"]
        for name, value in made["organs"].items()
    ]
    parts += [
        "## The calibration",
        markdown_table(["part", "factor", "mean may be off, HU"], [["body", f"{made['body']:.2f}", ""], *factors]),
    ]
    return "\n\n".join(parts) + "\n"


def draw_picture(path: Path, results: Mapping[str, Any], seen: tuple[np.ndarray, ...], width: np.ndarray) -> None:
    """Draw sparsification curves, and a slice with its errors and margins."""
    source, synthetic, target, body = seen
    at = int(np.argmax(np.where(body, np.abs(target - source), 0).sum(axis=(0, 1))))
    figure, axes = plt.subplots(1, 4, figsize=(15, 4), layout="constrained")
    images = {
        "synthetic CECT": (synthetic, "gray", (-100, 200)),
        "how far it is off, HU": (np.where(body, np.abs(synthetic - target), 0), "viridis", (0, 80)),
        "half-width, HU": (np.where(body, width, 0), "viridis", (0, 80)),
    }
    for axis, (title, (volume, colours, limits)) in zip(axes, images.items(), strict=False):
        shown = axis.imshow(radiological(volume[..., at]), cmap=colours, vmin=limits[0], vmax=limits[1])
        axis.set(title=title, xticks=[], yticks=[])
        if colours == "viridis":
            figure.colorbar(shown, ax=axis, shrink=0.8)
    curve = next(iter(results["tests"].values()))["sparsification"]
    shares = [100 * share for share in LEFT_OUT]
    for key, style in (("constant", ":"), ("margins", "-"), ("oracle", "--")):
        axes[3].plot(shares, curve[key], style, label=key)
    axes[3].set(title="error of what is left", xlabel="left out, %", ylabel="mean absolute error, HU", ylim=(0, None))
    axes[3].legend()
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=90, format="png")
    plt.close(figure)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    models = bundle_folder() / "models"
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", type=Path, default=models / "model.pt", metavar="PATH")
    parser.add_argument("--auxiliary", type=Path, metavar="PATH", help="default: auxiliary.pt beside the weights")
    parser.add_argument("--fit", choices=SPLITS, default="training", help="patients to fit half-widths on")
    parser.add_argument("--calibrate", choices=SPLITS, default="test", help="patients to calibrate them on")
    parser.add_argument("--test", nargs="+", default=[], metavar="NAME=DIR", help="data sets to measure on")
    parser.add_argument("--out", type=Path, default=Path("docs/results/uncertainty"), metavar="NAME")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help=f"default: {CALIBRATION} beside the weights")
    parser.add_argument("--no-pairs", action="store_true", help="leave the pairs of real slices out")
    return parser.parse_args(arguments)


def run(given: argparse.Namespace) -> None:
    start = perf_counter()
    auxiliary = given.auxiliary or given.weights.with_name("auxiliary.pt")
    networks = Networks(given.weights, auxiliary)
    about = read_datalist_file(given.data)
    labels: dict[str, int] = about["provenance"]["labels"]
    organs = {name: number for name, number in labels.items() if name not in NOT_ORGANS}
    rng = np.random.default_rng(0)
    drawn = [draw(patient, rng) for patient, _ in measure(networks, given.data, given.fit)]
    signals, errors = (torch.cat(parts) for parts in zip(*drawn, strict=True))
    half_width = fit_half_width(signals, errors, COVERAGE)
    patients = [with_widths(one, half_width) for one, _ in measure(networks, given.data, given.calibrate)]
    body, factors, means = calibrate(patients, organs)
    constant = coverage_factor([np.abs(one.errors) for one in patients], COVERAGE)
    made = Calibration(
        model_sha256=file_sha256(given.weights),
        auxiliary_sha256=file_sha256(auxiliary),
        coverage=COVERAGE,
        half_width=half_width,
        body=body,
        organs=factors,
        organ_means=means,
        data={
            "name": about["name"],
            "kind": about["kind"],
            "patients": {"fitted": len(drawn), "calibrated": len(patients)},
            "seed": about["provenance"].get("seed"),
        },
    )
    made.write(given.calibration or given.weights.with_name(CALIBRATION))
    tests: dict[str, Any] = {}
    seen: tuple[np.ndarray, ...] = ()
    width = np.empty(0)
    for name, folder in (test.split("=", 1) for test in given.test):
        found = []
        for patient, images in measure(networks, Path(folder), "test"):
            found.append(with_widths(patient, half_width, keep_signals=True))
            if not len(width):
                seen, width = images, np.zeros(images[0].shape, np.float32)
                width[images[3]] = found[0].widths * body
        tests[name] = judge(found, organs, made, constant)
    results = {
        "command": "python -m benchmarks.uncertainty",
        "about": f"Half-widths fitted on {len(drawn)} and calibrated on {len(patients)} {about['kind']} patients, seed "
        f"{about['provenance'].get('seed')}.",
        "weights": {"model": made.model_sha256, "auxiliary": made.auxiliary_sha256},
        "calibration": {"body": body, "organs": factors, "organ_means": means},
        "tests": tests,
        "pairs": {} if given.no_pairs else judge_pairs(networks),
        "hardware": host(),
        "seconds": round(perf_counter() - start),
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(given.out.with_suffix(".json"), results)
    with atomic_path(given.out.with_suffix(".md")) as partial:
        partial.write_text(page(results), encoding="utf-8")
    if tests:
        draw_picture(given.out.with_suffix(".png"), results, seen, width)
    print(page(results))


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate, measure, write and print; return 2 for wrong input, said in one line."""
    try:
        run(parse(arguments))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
