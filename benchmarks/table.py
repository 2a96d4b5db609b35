"""Finished cells become rows, and rows become ``table1.json``, ``table1.csv`` and ``table1.md``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import METHODS
from monai_nce.data import atomic_path, write_json
from monai_nce.metrics import METRICS, summarize

__all__ = ["PAPER_CT", "PAPER_IXI", "table_rows", "write_table"]

# Table 1 of Seo et al., WACV 2021: MSE, times 100 for IXI, and MS-SSIM
PAPER_CT = {
    "single": (0.108, 0.533),
    "cycle": (0.112, 0.528),
    "joint": (0.097, 0.557),
    "separate": (0.099, 0.559),
}
PAPER_IXI = {
    0.01: {"single": (0.356, 0.928), "cycle": (0.317, 0.937), "joint": (0.298, 0.950), "separate": (0.271, 0.949)},
    0.02: {"single": (0.484, 0.914), "cycle": (0.351, 0.929), "joint": (0.312, 0.945), "separate": (0.313, 0.946)},
    0.05: {"single": (0.574, 0.907), "cycle": (0.318, 0.930), "joint": (0.367, 0.941), "separate": (0.364, 0.936)},
}
FLOOR, CEILING = "identity", "oracle"


def table_rows(results: Sequence[Mapping[str, Any]], mri: bool) -> list[dict[str, Any]]:
    """One row per method and distortion, over its seeds.

    Args:
        results: finished cells with ``method``, ``distortion``, ``seed``, ``seconds`` and ``metrics``.
        mri: whether the paper's MRI columns stand beside, and not its CT column.

    Returns:
        Rows in the table's order. ``mean`` is over seeds and slices; ``low`` and ``high`` are the 95 % bootstrap
        interval over patients, each with the mean of its seeds. ``gap_closed`` is the share of the way in MSE from
        identity, the floor, to the oracle, the ceiling, None where there is no oracle.
    """
    groups: dict[tuple[str, float | None], list[Mapping[str, Any]]] = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        groups.setdefault((result["method"], result["distortion"]), []).append(result)
    rows = []
    for distortion in sorted({key[1] for key in groups}, key=lambda k: -1 if k is None else k):
        of_k = {method: group for (method, k), group in groups.items() if k == distortion}
        floor = next(iter(of_k.values()))[0]
        # the floor is the same whatever was trained
        named = {FLOOR: (FLOOR, [floor]), **{method: (method, group) for method, group in of_k.items()}}
        made = {}
        for method, (key, group) in named.items():
            made[method] = {
                "method": method,
                "distortion": distortion,
                "seeds": [] if method == FLOOR else [result["seed"] for result in group],
                **{
                    name: _over_seeds([result["metrics"][key][name] for result in group])
                    for name in _shown(group[0]["metrics"][key])
                },
                "seconds": None if method == FLOOR else _mean([result["seconds"] for result in group]),
                "paper": _paper(method, distortion, mri),
            }
        for row in made.values():
            row["gap_closed"] = _gap_closed(row, made)
        rows += [made[method] for method in METHODS if method in made]
    return rows


def _over_seeds(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    per_patient = {
        patient: [float(np.mean([value["per_patient"][patient] for value in values]))]
        for patient in values[0]["per_patient"]
    }
    interval = summarize(per_patient)
    per_seed = [value["mean"] for value in values]
    return {"mean": float(np.mean(per_seed)), "low": interval["low"], "high": interval["high"], "per_seed": per_seed}


def _shown(values: Mapping[str, Any]) -> list[str]:
    """List the metrics for tables that were computed: none in HU of MR images."""
    return [name for name, metric in METRICS.items() if metric.shown and name in values]


def _mean(seconds: Sequence[float | None]) -> float | None:
    known = [value for value in seconds if value is not None]
    return float(np.mean(known)) if known else None


def _paper(method: str, distortion: float | None, mri: bool) -> dict[str, float] | None:
    column = PAPER_IXI.get(distortion, {}) if mri and distortion is not None else {} if mri else PAPER_CT
    if method not in column:
        return None
    mse, ms_ssim = column[method]
    return {"mse": mse / 100 if mri else mse, "ms_ssim": ms_ssim}


def _gap_closed(row: Mapping[str, Any], made: Mapping[str, Mapping[str, Any]]) -> float | None:
    if CEILING not in made or made[CEILING]["mse"]["mean"] == made[FLOOR]["mse"]["mean"]:
        return None
    floor, ceiling = made[FLOOR]["mse"]["mean"], made[CEILING]["mse"]["mean"]
    return float((floor - row["mse"]["mean"]) / (floor - ceiling))


def write_table(out_dir: Path, about: Mapping[str, Any], results: Sequence[Mapping[str, Any]], mri: bool) -> None:
    """Write the three files, each in one step.

    Args:
        out_dir: folder for them.
        about: ``data``, ``preset``, ``hardware``, ``command`` and ``note``.
        results: as :func:`table_rows` takes them.
        mri: likewise.
    """
    rows = table_rows(results, mri)
    made_from = results[0]["metrics"]["about"]
    facts = {
        "test_patients": made_from["patients"],
        "aligned_truth": made_from["aligned"],
        "ms_ssim_setting": made_from["ms_ssim"],
        "interval": made_from["interval"],
    }
    for name, text in (("table1.csv", _csv(rows)), ("table1.md", markdown({**about, **facts}, rows, mri))):
        with atomic_path(out_dir / name) as partial:
            partial.write_text(text, encoding="utf-8")
    write_json(out_dir / "table1.json", {**about, **facts, "rows": rows})


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [f"{name}{part}" for name in _shown(rows[0]) for part in ("", "_low", "_high")]
    writer.writerow(["method", "distortion", "seeds", *columns, "gap_closed", "seconds", "paper_mse", "paper_ms_ssim"])
    for row in rows:
        values = [row[name][part] for name in _shown(row) for part in ("mean", "low", "high")]
        paper = row["paper"] or {"mse": None, "ms_ssim": None}
        seeds = " ".join(map(str, row["seeds"]))
        writer.writerow(
            [row["method"], row["distortion"], seeds, *values, row["gap_closed"], row["seconds"], *paper.values()]
        )
    return text.getvalue()


def markdown(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], mri: bool) -> str:
    """The table in the paper's layout: a row per method, and for each distortion MSE and MS-SSIM.

    Best and second best of what was trained without aligned pairs are **bold** and <u>underlined</u>.
    """
    scale, unit = (100, "MSE × 100") if mri else (1, "MSE")
    distortions = list(dict.fromkeys(row["distortion"] for row in rows))
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    cells = {(row["method"], row["distortion"]): row for row in rows}
    gap = any(row["gap_closed"] is not None for row in rows)
    header, papers = ["method"], ["method"]
    for k in distortions:
        at = "" if k is None else f", k = {k:g}"
        header += [f"{unit}{at}", f"MS-SSIM{at}", *([f"gap closed{at}"] if gap else [])]
        papers += [f"{unit}{at}", f"MS-SSIM{at}"]
    marks = {(name, k): _ranks(rows, name, k) for name in ("mse", "ms_ssim") for k in distortions}
    table, paper = [[*header, "training"]], [papers]
    for method in methods:
        line, beside, seconds = [method], [method], []
        for k in distortions:
            row = cells.get((method, k))
            if row is None:
                line += ["–"] * (3 if gap else 2)
                beside += ["–", "–"]
                continue
            line.append(_mark(_interval(row["mse"], scale), method, marks["mse", k]))
            line.append(_mark(_interval(row["ms_ssim"], 1), method, marks["ms_ssim", k]))
            if gap:
                line.append("–" if row["gap_closed"] is None else f"{100 * row['gap_closed']:.0f} %")
            known = row["paper"]
            beside += ["–", "–"] if known is None else [f"{scale * known['mse']:.3f}", f"{known['ms_ssim']:.3f}"]
            seconds.append(row["seconds"])
        mean = _mean(seconds)
        table.append([*line, "–" if mean is None else f"{mean / 60:.1f} min"])
        paper.append(beside)
    paper = [paper[0], *(line for line in paper[1:] if set(line[1:]) != {"–"})]
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    setting = about["ms_ssim_setting"]
    notes = [
        f"Data: {about['data']}, {about['test_patients']} test patients"
        f"{', aligned truth' if about['aligned_truth'] else ', misaligned truth: motion counts as error'}. "
        f"Preset: {about['preset']}. Training seeds: {', '.join(map(str, seeds))}. Hardware: {about['hardware']}.",
        f"Mean over slices and seeds [{about['interval']}]. MSE on [-1, 1]; MS-SSIM with {setting['scales']} scales "
        f"and a {setting['window']} × {setting['window']} window. Bold: best, underlined: second, of what was trained "
        "without aligned pairs. Identity is the input left as it is, the oracle was trained on aligned pairs; gap "
        "closed is the share of the way between their MSE.",
        f"Command: `{about['command']}`. {about['note']}",
    ]
    if len(paper) > 1:
        where = "IXI, 20 % of 566 subjects" if mri else "abdomen CT of 65 patients"
        notes.append(f"The paper's own figures, on its own data ({where}), not to be compared number by number:")
    parts = ["# Table 1", _grid(table), *notes, *([_grid(paper)] if len(paper) > 1 else [])]
    return "\n\n".join(parts) + "\n"


def _ranks(rows: Sequence[Mapping[str, Any]], name: str, distortion: float | None) -> list[str]:
    """Best and second, of the methods that had no aligned pairs."""
    ranked = [row for row in rows if row["distortion"] == distortion and row["method"] not in (FLOOR, CEILING)]
    ranked.sort(key=lambda row: row[name]["mean"], reverse=not METRICS[name].lower_is_better)
    return [row["method"] for row in ranked[:2]] if len(ranked) > 1 else []


def _mark(text: str, method: str, ranks: Sequence[str]) -> str:
    if method not in ranks:
        return text
    return f"**{text}**" if ranks.index(method) == 0 else f"<u>{text}</u>"


def _interval(value: Mapping[str, Any], scale: float) -> str:
    digits = 3 if scale != 1 else 4
    text = f"{scale * value['mean']:.{digits}f}"
    if value["low"] is None:
        return text
    return f"{text} [{scale * value['low']:.{digits}f}, {scale * value['high']:.{digits}f}]"


def _grid(lines: Sequence[Sequence[str]]) -> str:
    head, *body = ("| " + " | ".join(line) + " |" for line in lines)
    return "\n".join([head, "| --- " * len(lines[0]) + "|", *body])
