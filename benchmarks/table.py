"""Turn finished cells into rows, and rows into ``table1.json``, ``table1.md`` and ``organs.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.markdown import markdown_table
from benchmarks.organ_table import organ_markdown
from benchmarks.plan import METHODS
from monai_nce.data import atomic_path, write_json
from monai_nce.metrics import METRICS, summarize

__all__ = ["PAPER_CT", "PAPER_IXI", "table_rows", "write_table"]

# Table 1 of Seo et al., WACV 2021: MSE, times 100 for IXI, and MS-SSIM
PAPER_CT = {"single": (0.108, 0.533), "cycle": (0.112, 0.528), "joint": (0.097, 0.557), "separate": (0.099, 0.559)}
PAPER_IXI = {
    0.01: {"single": (0.356, 0.928), "cycle": (0.317, 0.937), "joint": (0.298, 0.950), "separate": (0.271, 0.949)},
    0.02: {"single": (0.484, 0.914), "cycle": (0.351, 0.929), "joint": (0.312, 0.945), "separate": (0.313, 0.946)},
    0.05: {"single": (0.574, 0.907), "cycle": (0.318, 0.930), "joint": (0.367, 0.941), "separate": (0.364, 0.936)},
}
FLOOR, CEILING = "identity", "oracle"


def table_rows(results: Sequence[Mapping[str, Any]], mri: bool) -> list[dict[str, Any]]:
    """Make one row per method and distortion, over its seeds, in the table's order.

    ``results`` are those of :class:`~benchmarks.cell.Cell`; ``mri`` chooses the paper's MRI columns for comparison.

    In a row ``mean`` is over seeds and slices; ``low`` and ``high`` are the 95 % bootstrap interval over patients, each
    with the mean of its seeds. ``gap_closed`` is the share of the way in MSE from identity, the floor, to the oracle,
    the ceiling, None where there is no oracle.
    """
    rows: list[dict[str, Any]] = []
    for k in sorted({result["distortion"] for result in results}, key=lambda k: k or 0):
        of_k = sorted((result for result in results if result["distortion"] == k), key=lambda result: result["seed"])
        # the floor is the same whatever was trained
        groups = {name: [r for r in of_k if r["method"] == name] if name != FLOOR else of_k[:1] for name in METHODS}
        made = {method: _row(method, k, group, mri) for method, group in groups.items() if group}
        floor = made[FLOOR]["mse"]["mean"]
        ceiling = made[CEILING]["mse"]["mean"] if CEILING in made else floor
        for row in made.values():
            share = None if ceiling == floor else float((floor - row["mse"]["mean"]) / (floor - ceiling))
            rows.append({**row, "gap_closed": share})
    return rows


def _row(method: str, k: float | None, group: Sequence[Mapping[str, Any]], mri: bool) -> dict[str, Any]:
    floor = method == FLOOR
    seconds = [result["seconds"] for result in group if result["seconds"] is not None and not floor]
    known = (PAPER_IXI.get(k or 0, {}) if mri else PAPER_CT).get(method)
    metrics = [name for name, metric in METRICS.items() if metric.shown and name in group[0]["metrics"][method]]
    return {
        "method": method,
        "distortion": k,
        "seeds": [] if floor else [result["seed"] for result in group],
        **{name: _over_seeds([result["metrics"][method][name] for result in group]) for name in metrics},
        "seconds": float(np.mean(seconds)) if seconds else None,
        "paper": None if known is None else {"mse": known[0] / (100 if mri else 1), "ms_ssim": known[1]},
    }


def _over_seeds(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average over seeds, with the bootstrap interval over patients."""
    per_patient = [value["per_patient"] for value in values]
    interval = summarize({patient: [float(np.mean([of[patient] for of in per_patient]))] for patient in per_patient[0]})
    per_seed = [value["mean"] for value in values]
    return {"mean": float(np.mean(per_seed)), "low": interval["low"], "high": interval["high"], "per_seed": per_seed}


def write_table(out_dir: Path, about: Mapping[str, Any], results: Sequence[Mapping[str, Any]], mri: bool) -> None:
    """Write the files, each in one step; ``organs.md`` where there are label maps.

    ``about`` has ``data``, ``preset``, ``hardware``, ``command``, ``note``.
    """
    rows = table_rows(results, mri)
    facts = {**results[0]["metrics"]["about"], **about}
    with atomic_path(out_dir / "table1.md") as partial:
        partial.write_text(_markdown(facts, rows, mri), encoding="utf-8")
    write_json(out_dir / "table1.json", {**facts, "rows": rows})
    if organs := organ_markdown(results):
        with atomic_path(out_dir / "organs.md") as partial:
            partial.write_text(organs, encoding="utf-8")


def _markdown(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], mri: bool) -> str:
    """Lay the table out as the paper does: a row per method, and for each distortion MSE and MS-SSIM."""
    scale, names = (100, ["MSE × 100", "MS-SSIM"]) if mri else (1, ["MSE", "MS-SSIM"])
    distortions = list(dict.fromkeys(row["distortion"] for row in rows))

    def grid(names: Sequence[str], cells: Mapping[tuple[str, float | None], Sequence[str]]) -> str:
        head = [name if k is None else f"{name}, k = {k:g}" for k in distortions for name in names]
        lines = []
        for method in METHODS:
            if any((method, k) in cells for k in distortions):
                found = [cells.get((method, k), ["–"] * len(names)) for k in distortions]
                lines.append([method, *(cell for part in found for cell in part)])
        return markdown_table(["method", *head], lines)

    measured, paper = {}, {}
    for row in rows:
        gap = "–" if row["gap_closed"] is None else f"{100 * row['gap_closed']:.0f} %"
        place = row["method"], row["distortion"]
        measured[place] = [*(_cell(row, name, rows, by) for name, by in (("mse", scale), ("ms_ssim", 1))), gap]
        if row["paper"]:
            paper[place] = [f"{scale * row['paper']['mse']:.3f}", f"{row['paper']['ms_ssim']:.3f}"]
    seeds = sorted({seed for row in rows for seed in row["seeds"]})
    truth = "aligned truth" if about["aligned"] else "misaligned truth: motion counts as error"
    window, scales = about["ms_ssim"]["window"], about["ms_ssim"]["scales"]
    parts = [
        "# Table 1",
        grid([*names, "gap closed"], measured),
        f"Data: {about['data']}, {about['patients']} test patients, {truth}. Preset: {about['preset']}. "
        f"Training seeds: {', '.join(map(str, seeds))}. Hardware: {about['hardware']}.",
        f"Mean over slices and seeds [{about['interval']}]. MSE on [-1, 1]; MS-SSIM with {scales} scales and a "
        f"{window} × {window} window. Bold: best, underlined: second, of the methods trained without aligned pairs. "
        "Identity is the input unchanged, the oracle was trained on aligned pairs; gap closed is the share of the way "
        "between their MSE.",
        f"Command: `{about['command']}`. {about['note']}",
    ]
    if paper:
        where = "IXI, 20 % of 566 subjects" if mri else "abdomen CT of 65 patients"
        parts += [f"The paper's own figures, on its own data ({where}), not to be compared number by number:"]
        parts += [grid(names, paper)]
    return "\n\n".join(parts) + "\n"


def _cell(row: Mapping[str, Any], name: str, rows: Sequence[Mapping[str, Any]], scale: int) -> str:
    """Show a mean with its interval, the best two of the methods trained without aligned pairs marked."""
    digits = 4 if scale == 1 else 3
    mean, low, high = (
        "" if row[name][part] is None else f"{scale * row[name][part]:.{digits}f}" for part in ("mean", "low", "high")
    )
    rivals = [r for r in rows if r["distortion"] == row["distortion"] and r["method"] not in (FLOOR, CEILING)]
    best = sorted(rivals, key=lambda r: r[name]["mean"], reverse=not METRICS[name].lower_is_better)
    marks = zip([r["method"] for r in best], ("**{}**", "<u>{}</u>"), strict=False) if len(best) > 1 else ()
    return dict(marks).get(row["method"], "{}").format(f"{mean} [{low}, {high}]" if low else mean)
