"""Ask which metrics order methods as the truth does when the reference has moved.

    python -m benchmarks.metrics_under_motion --data DIR --weights NAME=PATH [NAME=PATH ...] [--patients N]
                                              [--registered N] [--work FOLDER] [--out FOLDER]

DIR is a data set with aligned sources, targets and labels, as ``data_prep virtual`` makes; its test patients are used.
Methods are the weights; the first of them with a fault put in, such as blur, noise, half of the contrast or kidneys and
vessels left out; and identity. Each is applied twice:

- to the aligned source, where the target is the truth: the true errors are the MAE over the body, and the mean over
  organs of the absolute error of their mean HU;
- to the acquired source, of another breath-hold, where the target is what one has of a patient: the metrics.

Of each metric it is printed how it orders the methods, by the means over patients, against either truth: Spearman's
and Kendall's rank correlation, with a 95 % percentile-bootstrap interval over patients; beside it the same where the
reference has not moved. And of each fault, in what share of the patients the metric has it for worse than no fault.

Three metrics register first, by elastix with the settings of ``data_prep register --method bspline``, and take the MAE:
the synthetic onto the real image, the real onto the synthetic one, and the real one onto the scan. The first two look
at the synthetic image, and are done for each method, of the first ``--registered`` patients; with 0 none is done.

A patient's values go into ``--work`` at once; a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from scipy import ndimage, stats
from tqdm import tqdm

from benchmarks.hardware import host
from benchmarks.markdown import markdown_table
from benchmarks.weights import Weights, common_window
from data_prep.registration import make_registration
from monai_nce.data import atomic_path, read_datalist, read_datalist_file, write_json
from monai_nce.errors import InputError
from monai_nce.metrics import ADDITIONAL_METRICS, METRICS, ImageMetrics, Metric
from monai_nce.transforms import WindowHU
from monai_nce.transforms.body_mask import body_mask

__all__ = ["FAULTS", "TRUTHS", "correlations", "main", "measure_patient", "noticed", "summarize"]

IDENTITY = "identity"
TRUTHS = {"body_mae": "MAE of the body", "organ_error": "error of organs' means"}
REGISTERED = {
    "synthetic_onto_real": "MAE, synthetic registered onto real",
    "real_onto_synthetic": "MAE, real registered onto synthetic",
    "real_onto_scan": "MAE, real registered onto the scan",
}
COMPARED = {
    **{name: metric for name, metric in METRICS.items() if name not in ("mse_01", "mse_hu2")},  # of the same order
    **ADDITIONAL_METRICS,
    **{name: Metric(name, torch.sub, title, ".2f") for name, title in REGISTERED.items()},  # not of slices
}
LEAST_VOXELS = 50  # of an organ
RESAMPLES = 999
SHIFT_MM = 5.0
BRIGHT_HU = 40.0  # rise from which on contrast medium is left out where organs miss

Volume = NDArray[np.float32]  # HU, (H, W, D)
Fault = Callable[[Volume, Volume, Sequence[float]], NDArray[np.floating[Any]]]


def _noise(scan: Volume, made: Volume, spacing: Sequence[float]) -> Volume:
    return np.asarray(made + np.random.default_rng(0).normal(0, 20, made.shape), np.float32)


def _flicker(scan: Volume, made: Volume, spacing: Sequence[float]) -> Volume:
    return np.asarray(made + np.where(np.arange(made.shape[2]) // 3 % 2, 10, -10), np.float32)


def _invented(scan: Volume, made: Volume, spacing: Sequence[float]) -> Volume:
    """Put twelve balls of 2 cm, 50 HU brighter, somewhere into the body."""
    inside = np.argwhere((made > -50) & (made < 150))
    grid = np.indices(made.shape, dtype=np.float32)
    sides = np.reshape(np.array(spacing, np.float32), (3, 1, 1, 1))
    balls = np.zeros(made.shape, bool)
    for place in np.random.default_rng(0).choice(inside, 12):
        balls |= np.square((grid - place.reshape(3, 1, 1, 1)) * sides).sum(0) <= 10.0**2
    return np.asarray(made + 50 * balls, np.float32)


# of a scan, what was made of it, and the voxels' sides in mm
FAULTS: dict[str, Fault] = {
    "blurred, 1 pixel": lambda scan, made, spacing: ndimage.gaussian_filter(made, (1, 1, 0)),
    "blurred, 2 pixels": lambda scan, made, spacing: ndimage.gaussian_filter(made, (2, 2, 0)),
    "noise of 20 HU": _noise,
    "half of the contrast": lambda scan, made, spacing: scan + (made - scan) / 2,
    "1.5 times the contrast": lambda scan, made, spacing: scan + (made - scan) * np.float32(1.5),
    "kidneys and vessels left out": lambda scan, made, spacing: np.where(made - scan > BRIGHT_HU, scan, made),
    "invented lesions": _invented,
    "10 HU too bright": lambda scan, made, spacing: made + np.float32(10),
    "moved by 5 mm": lambda scan, made, spacing: np.roll(made, round(SHIFT_MM / spacing[0]), axis=0),
    "flicker of 20 HU": _flicker,
}


def measure_patient(
    item: Mapping[str, Any],
    labels: Mapping[str, int],
    weights: Mapping[str, Weights],
    window: WindowHU,
    registered: Collection[str] = (),
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure every method on a patient.

    Args:
        item: of the data set.
        labels: the label maps' values, by organ.
        weights: by name.
        window: in which all is compared.
        registered: which of ``REGISTERED`` are measured.

    Returns:
        By method: ``truth``, the true errors; ``aligned`` and ``moved``, the metrics.
    """
    images = {
        role: nib.Nifti1Image.from_filename(item[role]) for role in ("target", "source", "aligned_source", "labels")
    }
    hu = {role: np.asarray(image.dataobj) for role, image in images.items()}
    spacing = [float(side) for side in voxel_sizes(images["target"].affine)]
    compare = ImageMetrics(window.window_width, additional=list(ADDITIONAL_METRICS))

    def within(volume: NDArray[Any]) -> torch.Tensor:
        return window(torch.from_numpy(np.asarray(volume, np.float32)))[None]

    target = within(hu["target"])
    body = body_mask(hu["target"][None])[0]
    register = make_registration("bspline", progress=False) if registered else None
    found: dict[str, dict[str, dict[str, float]]] = {}
    for pose, role in (("aligned", "aligned_source"), ("moved", "source")):
        scan = window.inverse(within(hu[role]))[0].numpy()
        source, onto_scan = within(scan), None
        if pose == "moved" and register is not None and "real_onto_scan" in registered:
            onto_scan = within(register.register(hu[role], hu["target"], spacing))
        for name, made in _methods(scan, weights, spacing).items():
            image = within(made)
            values = {key: float(one.double().mean()) for key, one in compare(image, target, source, spacing).items()}
            row = found.setdefault(name, {})
            if pose == "aligned":
                inside = window.inverse(image)[0].numpy()
                row["truth"] = _true_errors(inside, window.inverse(target)[0].numpy(), hu["labels"], labels, body)
            elif register is not None:
                if onto_scan is not None:
                    values["real_onto_scan"] = _mae_hu(image, onto_scan, window)
                if "synthetic_onto_real" in registered:
                    moved = within(register.register(hu["target"], made, spacing))
                    values["synthetic_onto_real"] = _mae_hu(moved, target, window)
                if "real_onto_synthetic" in registered:
                    moved = within(register.register(made, hu["target"], spacing))
                    values["real_onto_synthetic"] = _mae_hu(image, moved, window)
            row[pose] = {key: value for key, value in values.items() if key in COMPARED}
    return found


def _methods(scan: Volume, weights: Mapping[str, Weights], spacing: Sequence[float]) -> dict[str, Volume]:
    """Return what each method makes of a scan, in HU."""
    made = {name: one.enhance(scan) for name, one in weights.items()}
    first = next(iter(made.values()))
    faulty = {name: np.asarray(fault(scan, first, spacing), np.float32) for name, fault in FAULTS.items()}
    return {**made, **faulty, IDENTITY: scan}


def _mae_hu(one: torch.Tensor, other: torch.Tensor, window: WindowHU) -> float:
    return float((one - other).abs().mean()) * window.window_width / 2


def _true_errors(
    made: Volume, target: Volume, numbers: NDArray[Any], labels: Mapping[str, int], body: NDArray[np.bool_]
) -> dict[str, float]:
    organs = [numbers == value for name, value in labels.items() if name != "air"]
    organs = [where for where in organs if where.sum() >= LEAST_VOXELS]
    off = [abs(float(made[where].mean(dtype=float) - target[where].mean(dtype=float))) for where in organs]
    return {"body_mae": float(np.abs(made - target)[body].mean(dtype=float)), "organ_error": float(np.mean(off))}


def correlations(
    truth: NDArray[np.float64], badness: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Correlate the order of methods by a metric with their true order.

    Args:
        truth, badness: ``(patients, methods)``, lower being better.
        resamples, seed: of the bootstrap over patients.

    Returns:
        ``spearman`` and ``kendall`` of the means over patients, None where all are alike, each with its 95 %
        ``_interval`` unless there are no resamples.
    """
    rng = np.random.default_rng(seed)
    draws = [np.arange(len(truth)), *rng.integers(len(truth), size=(resamples, len(truth)))]
    ranks: dict[str, list[float]] = {"spearman": [], "kendall": []}
    for drawn in draws:
        means = truth[drawn].mean(0), badness[drawn].mean(0)
        flat = any(np.ptp(values) == 0 for values in means)
        ranks["spearman"].append(np.nan if flat else float(stats.spearmanr(*means).statistic))
        ranks["kendall"].append(np.nan if flat else float(stats.kendalltau(*means).statistic))
    found: dict[str, Any] = {}
    for name, (value, *redrawn) in ranks.items():
        found[name] = None if np.isnan(value) else value
        if redrawn and not np.isnan(value):
            found[f"{name}_interval"] = np.nanquantile(redrawn, (0.025, 0.975)).tolist()
    return found


def noticed(badness: Mapping[str, NDArray[np.float64]], first: str) -> dict[str, float]:
    """Return the share of patients in whom each fault is worse than the same image without it."""
    return {fault: float((badness[fault] > badness[first]).mean()) for fault in FAULTS}


def summarize(patients: Sequence[Mapping[str, Any]], first: str) -> dict[str, Any]:
    """Compare every metric with the truths.

    Args:
        patients: what :func:`measure_patient` returns of each.
        first: method that the faults were put into.

    Returns:
        ``metrics``: by metric the number of ``patients``; against each truth its correlations ``moved`` and, where it
        was measured there too, ``aligned``, with Spearman's ``without_faults``, of weights and identity alone; and
        ``noticed``. ``truths``: for each ``noticed``. ``means``: by method, pose and metric over patients.
    """
    methods = list(patients[0])

    def table(pose: str, key: str, metric: Metric | None = None) -> dict[str, NDArray[np.float64]] | None:
        rows = [one for one in patients if key in one[IDENTITY][pose]]
        if not rows:
            return None
        bad = metric.badness if metric is not None else float
        return {name: np.array([bad(one[name][pose][key]) for one in rows]) for name in methods}

    truths = {key: table("truth", key) or {} for key in TRUTHS}
    found: dict[str, Any] = {}
    for name, metric in COMPARED.items():
        moved = table("moved", name, metric)
        if moved is None:
            continue
        count = len(moved[IDENTITY])
        row: dict[str, Any] = {"patients": count, "noticed": noticed(moved, first)}
        trained = [place for place, method in enumerate(methods) if method not in FAULTS]
        for pose, values in (("moved", moved), ("aligned", table("aligned", name, metric))):
            if values is None:
                continue
            by_metric, row[pose] = np.array(list(values.values())).T, {}
            for key, truth in truths.items():
                true = np.array(list(truth.values())).T[:count]
                row[pose][key] = correlations(true, by_metric, RESAMPLES if pose == "moved" else 0)
                without = correlations(true[:, trained], by_metric[:, trained], 0)
                row[pose][key]["without_faults"] = without["spearman"]
        found[name] = row
    means = {
        name: {
            pose: {
                key: float(np.mean([one[name][pose][key] for one in patients if key in one[name][pose]]))
                for key in keys
            }
            for pose, keys in patients[0][name].items()
        }
        for name in methods
    }
    return {"truths": {key: noticed(truth, first) for key, truth in truths.items()}, "metrics": found, "means": means}


def order_table(summary: Mapping[str, Any]) -> str:
    """Lay out the rank correlations in Markdown, the best order by the body's MAE first."""
    head = ["metric", "patients"]
    for title in TRUTHS.values():
        head += [f"{what}, {title}" for what in ("ρ", "τ", "ρ without faults", "ρ not moved")]
    rows = []
    ranked = sorted(summary["metrics"].items(), key=lambda item: -(item[1]["moved"]["body_mae"]["spearman"] or 0))
    for name, row in ranked:
        cells = [str(COMPARED[name]), str(row["patients"])]
        for key in TRUTHS:
            one = row["moved"][key]
            interval = " [{:.2f}, {:.2f}]".format(*one["spearman_interval"]) if "spearman_interval" in one else ""
            cells.append(_number(one["spearman"]) + interval)
            cells += [_number(one[part]) for part in ("kendall", "without_faults")]
            cells.append(_number(row["aligned"][key]["spearman"] if "aligned" in row else None))
        rows.append(cells)
    return markdown_table(head, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def fault_table(summary: Mapping[str, Any]) -> str:
    """Lay out in Markdown in what share of the patients each fault is held for worse than none."""
    rows = [
        [f"truth: {title}", *(f"{share:.0%}" for share in summary["truths"][key].values())]
        for key, title in TRUTHS.items()
    ]
    for name, row in summary["metrics"].items():
        rows.append([str(COMPARED[name]), *(f"{share:.0%}" for share in row["noticed"].values())])
    return markdown_table(["", *FAULTS], rows)


def _named(text: str) -> tuple[str, Path]:
    name, given, path = text.partition("=")
    return (name, Path(path)) if given else (Path(text).stem, Path(text))


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    paths = dict(map(_named, options.weights))
    if len(paths) < len(options.weights):
        raise InputError(f"--weights: expected a name for each but got {', '.join(options.weights)}")
    weights = {name: Weights(path) for name, path in paths.items()}
    window = common_window(weights.values())
    items = read_datalist(options.data, "test", ("target", "source", "aligned_source", "labels"))[: options.patients]
    if len(items) < 2:
        raise InputError(
            f"{options.data}: expected at least two test patients with aligned source but got {len(items)}"
        )
    about = read_datalist_file(options.data)
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
    made_from = {key: value for key, value in about.get("provenance", {}).items() if key != "labels"}
    labels = about["provenance"]["labels"]
    patients = []
    for number, item in enumerate(tqdm(items, desc="metrics under motion", unit="patient")):
        registered = [name for name in REGISTERED if options.registered > (number if "synthetic" in name else 0)]
        settings = {"weights": hashes, "data": made_from, "registered": registered, "version": 1}
        key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        file = options.work / f"{item['patient']}_{key}.json"
        if not file.exists():
            options.work.mkdir(parents=True, exist_ok=True)
            write_json(file, measure_patient(item, labels, weights, window, registered))
        patients.append(json.loads(file.read_text(encoding="utf-8")))
    return {
        "data": about.get("name"),
        "data_made_from": made_from,
        "patients": [item["patient"] for item in items],
        "weights": {name: {**one.said.plain(), "sha256": hashes[name]} for name, one in weights.items()},
        "faults_in": next(iter(weights)),
        "hardware": host(),
        "torch": torch.__version__,
        **summarize(patients, next(iter(weights))),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print both tables and, with ``--out``, write them; return 2 for wrong input, said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR")
    add(
        "--weights",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="the faults are put into the first ones' images",
    )
    add("--patients", type=int, default=6, metavar="N", help="test patients, the first ones (default 6)")
    add("--registered", type=int, default=3, metavar="N", help="of them, registered by each method (default 3)")
    add(
        "--work", type=Path, default=Path("runs", "metrics_under_motion"), metavar="FOLDER", help="for what is measured"
    )
    add("--out", type=Path, metavar="FOLDER", help="for metrics_under_motion.json and .md")
    options = parser.parse_args(arguments)
    try:
        result = _measure(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text = "\n\n".join([order_table(result), f"Faults put into {result['faults_in']}:", fault_table(result)])
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_json(options.out / "metrics_under_motion.json", result)
        with atomic_path(options.out / "metrics_under_motion.md") as partial:
            partial.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
