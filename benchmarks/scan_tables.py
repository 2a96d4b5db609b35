"""Lay out what :mod:`benchmarks.real_scans` measured as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.markdown import markdown_table

__all__ = ["markdown"]

IDENTITY, SYNTHETIC = METHODS = ("identity", "synthetic")
NOTHING = "–"


def markdown(result: Mapping[str, Any]) -> str:
    """Lay out a whole result; every table has identity, the input left as it is."""
    parts = [
        "# Real scans",
        f"Weights: {result['weights']}. Ranges of the literature: {result['phase']} phase. Command: "
        f"`{result['command']}`. Hardware: {result['hardware']}. SYNTHETIC images, research use only.",
        *_summary(result["scans"]),
    ]
    for name, scan in result["scans"].items():
        parts += _scan(name, scan)
    parts += _distances(result["distances"], result["real"]) if result["distances"] else []
    parts += _pairs(result["pairs"]) if result["pairs"] else []
    return "\n\n".join(parts) + "\n"


def _summary(scans: Mapping[str, Any]) -> list[str]:
    def passed(checks: Sequence[Mapping[str, Any]]) -> str:
        return f"{sum(check['passed'] for check in checks)} of {len(checks)}" if checks else NOTHING

    head = ["scan", *(f"{method}: checks passed" for method in METHODS), "probes: organs within their tolerance"]
    rows = [
        [name, *(passed(scan["checks"][method]) for method in METHODS), passed(scan["moved"])]
        for name, scan in scans.items()
    ]
    return ["## Checks", markdown_table(head, rows)]


def _scan(name: str, scan: Mapping[str, Any]) -> list[str]:
    """Lay out the regions of a scan, its other checks and its probes."""
    checks = {method: {check["what"]: check for check in scan["checks"][method]} for method in METHODS}
    rows = []
    for region, before in scan[IDENTITY]["regions"].items():
        what = f"{region}: rise"
        expected = before["expected"]
        rows.append(
            [
                region,
                f"{before['cm3']:.3g}",
                f"{before['hu']:.0f} ± {before['deviation']:.0f}",
                NOTHING if expected is None else f"{expected[0]:+.0f} [{expected[1]:+.0f}, {expected[2]:+.0f}]",
                _limits(checks[SYNTHETIC].get(what)),
                *(f"{scan[method]['regions'][region]['rise']:+.1f}" for method in METHODS),
                _verdict(checks[SYNTHETIC].get(what)),
            ]
        )
    others = [what for what in checks[SYNTHETIC] if not what.endswith(": rise")]
    parts = [
        f"## {name}",
        scan["about"],
        markdown_table(["region", "cm³", "HU before", "literature: rise in HU", "may be", *METHODS, "passed"], rows),
    ]
    if others:
        lines = []
        for what in others:
            piece = scan[SYNTHETIC]["largest"].get(what.partition(":")[0])
            where = f", mean {piece['rise']:+.0f} HU, at {tuple(piece['at'])} mm" if piece and piece["at"] else ""
            before, check = (checks[method][what] for method in METHODS)
            lines.append([what, _limits(check), _value(before), _value(check) + where, _verdict(check)])
        parts.append(markdown_table(["", "may be", *METHODS, "passed"], lines))
    if scan["moved"]:
        parts += _probes(scan["moved"])
    return parts


def _probes(moved: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lay out the differences that probes made, a row for each probe."""
    organs = list(dict.fromkeys(check["organ"] for check in moved))
    by_probe: dict[str, dict[str, Mapping[str, Any]]] = {}
    for check in moved:
        by_probe.setdefault(check["probe"], {})[check["organ"]] = check
    rows = [[IDENTITY, *["+0.0"] * len(organs), NOTHING]]
    for probe, found in by_probe.items():
        cells = []
        for organ in organs:
            text = f"{found[organ]['value']:+.1f}" if organ in found else NOTHING
            cells.append(text if organ not in found or found[organ]["passed"] else f"**{text}**")
        rows.append([probe, *cells, f"±{next(iter(found.values()))['high']:g}"])
    return [
        "Change of each organ's rise, in HU, where the scan is moved (bold: beyond what it may be):",
        markdown_table(["probe", *organs, "may be"], rows),
    ]


def _distances(distances: Mapping[str, Any], real: Mapping[str, Any]) -> list[str]:
    organs = list(distances)
    rows = [[method, *(_number(distances[organ].get(method)) for organ in organs)] for method in (*METHODS, "real")]
    parts = [
        "## Distance to real CECTs",
        "Wasserstein distance in HU between the voxels of each organ in the row's images and in the real CECTs of "
        "other patients; `real`: of one real CECT to the others.",
        markdown_table(["", *organs], rows),
        "The real CECTs, mean ± standard deviation in HU:",
    ]
    regions = list(dict.fromkeys(region for scan in real.values() for region in scan))
    cells = [[name, *(_spread(scan.get(region)) for region in regions)] for name, scan in real.items()]
    return [*parts, markdown_table(["scan", *regions], cells)]


def _pairs(pairs: Mapping[str, Any]) -> list[str]:
    rows = [
        [name, registration, *(_error(errors.get(method)) for method in METHODS)]
        for name, pair in pairs.items()
        for registration, errors in pair.items()
    ]
    return [
        "## Slices of one patient on two days",
        "MSE on [-1, 1] (mean absolute error in HU) within the body, in the paper's window. Where both slices are "
        "without contrast medium, identity shows what motion and noise alone leave.",
        markdown_table(["pair", "registration", *METHODS], rows),
    ]


def _spread(of: Mapping[str, float] | None) -> str:
    return NOTHING if of is None else f"{of['hu']:.0f} ± {of['deviation']:.0f}"


def _error(of: Mapping[str, float] | None) -> str:
    return NOTHING if of is None else f"{of['mse']:.4f} ({of['mae']:.1f})"


def _limits(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return NOTHING
    low, high, unit = check["low"], check["high"], check["unit"]
    text = f"at most {high:g}" if low is None else f"{low:.3g} to {high:.3g}"
    return f"{text} {unit}".strip()


def _value(check: Mapping[str, Any]) -> str:
    return _number(check["value"]) + (f" {check['unit']}" if check["unit"] and check["value"] is not None else "")


def _verdict(check: Mapping[str, Any] | None) -> str:
    return "" if check is None else "yes" if check["passed"] else "**no**"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
