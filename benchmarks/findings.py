"""Ask whether a synthetic image shows lesions, loses them, or invents some.

    python -m benchmarks.findings --data DIR --weights NAME=PATH [NAME=PATH ...] [--patients N] [--seed N]
                                  [--work FOLDER] [--out FOLDER]

DIR is laid out as ``NCE_REAL_DATA``; of each of its label maps so many virtual patients are made twice, without and
with lesions, all else the same to the noise of each voxel (:mod:`benchmarks.twins`). The aligned plain scan of either
is enhanced by each of the weights. Beside them stand ``identity``, the plain scan as it is, and ``truth``, the CECT.

Detection: a reader that is the same for all (:mod:`benchmarks.blob_reader`) marks the images. A mark hits a lesion if
its middle is in it or beside it; those in patients without lesions are false. Free-response curves by size.

Contrast: how the mean over a lesion differs between the twins, synthetic and true; nothing of the organ is left in it.
A lesion that truly differs by 10 HU or more is shown if the synthetic image has half of that or more, reversed if it
has 5 HU or more of the other sign, else lost.

Invented: marks in the synthetic image of a patient without lesions that neither the plain scan nor the true CECT has,
not even with half of the score, within 10 mm. The threshold is the same for all: where the reader has one false mark
in a patient's true CECT.

Where the auxiliary network lies beside weights, as ``auxiliary.pt``: how well the cycle residual |A(T(x)) - x| around
a mark tells invented ones from those that are in plain scan or CECT, as area under the ROC curve.

Intervals are 95 % percentile-bootstrap intervals over patients.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from benchmarks.blob_reader import Mark, read_scan
from benchmarks.free_response import FreeResponse, threshold_at
from benchmarks.hardware import host
from benchmarks.lesions import area_under_curve
from benchmarks.markdown import markdown_table
from benchmarks.twins import SIZES, Twins, make_twins
from benchmarks.weights import Weights, common_window
from monai_nce.data import write_json
from monai_nce.errors import InputError
from monai_nce.handlers.weights.starting_weights import AUXILIARY
from monai_nce.virtual import LABELS, PATTERNS

__all__ = ["LesionResult", "PatientResult", "main", "measure_twins", "summarize"]

IDENTITY, TRUTH = "identity", "truth"
FALSE_MARKS = 1.0  # in a patient, beside which lesions found are told
TRULY = 10.0  # HU that a lesion differs from health
SHOWN, REVERSED = 0.5, 5.0  # of the true difference; HU
SAME_PLACE = 10.0  # mm
RESAMPLES = 999
SIZE_NAMES = {size: f"{size[0]:.0f} to {size[1]:.0f} mm" for size in SIZES}
SEEN = {True: "plain scan shows it", False: "plain scan does not"}
MOST_FALSE = 8.0  # false marks in a patient to which curves are kept and drawn
FATES = ("shown", "lost", "reversed")

Volume = NDArray[np.float32]
Enhance = Callable[[Volume], Volume]
Residuals = dict[str, list[tuple[float, float]]]  # of ``invented`` and ``real`` marks: score, and residual around it


@dataclass(frozen=True)
class LesionResult:
    """Hold one lesion.

    Args:
        pattern, organ, diameter: as planted.
        plain, true: mean HU between the twins, of plain scan and CECT.
        score: the highest of the marks that hit it, by method; -inf without.
        difference: mean HU between the twins, by method.
    """

    pattern: str
    organ: str
    diameter: float
    plain: float
    true: float
    score: dict[str, float]
    difference: dict[str, float]

    @property
    def part(self) -> str:
        """Name its size, and whether the plain scan shows it."""
        size = next((name for (_, most), name in SIZE_NAMES.items() if self.diameter < most), SIZE_NAMES[SIZES[-1]])
        return f"{size}, {SEEN[abs(self.plain) >= TRULY]}"

    def fate(self, method: str) -> str:
        """Say what a method makes of a lesion of the CECT: one of ``FATES``."""
        made = self.difference[method] * np.sign(self.true)
        if made >= SHOWN * abs(self.true):
            return "shown"
        return "reversed" if made <= -REVERSED else "lost"


@dataclass(frozen=True)
class PatientResult:
    """Hold one patient.

    Args:
        patient: name.
        lesions: of the ill twin.
        false: scores of the marks in the healthy twin, by method.
        novel: of those, the ones that neither plain scan nor CECT has.
        residual: of those with a way back, the cycle residuals around the marks in the healthy twin.
    """

    patient: str
    lesions: list[LesionResult]
    false: dict[str, list[float]]
    novel: dict[str, list[float]]
    residual: dict[str, Residuals] = field(default_factory=dict)


def measure_twins(
    twins: Twins, methods: Mapping[str, Enhance], back: Mapping[str, Enhance], limits: tuple[float, float]
) -> PatientResult:
    """Enhance twins by every method, read the images and compare them.

    Args:
        twins: one patient.
        methods: from the plain scan to the synthetic image in HU, by name.
        back: from the synthetic image to the plain scan, of the methods that have such a network.
        limits: HU of the window in which all is compared.
    """

    def within(hu: NDArray[Any]) -> Volume:
        return np.clip(np.asarray(hu, np.float32), *limits)

    plain = [within(hu) for hu in twins.plain]
    images = {IDENTITY: plain, TRUTH: [within(hu) for hu in twins.cect]}
    images |= {name: [within(enhance(hu)) for hu in plain] for name, enhance in methods.items()}
    marks = {
        name: [read_scan(hu, twins.tissues, LABELS, twins.spacing) for hu in both] for name, both in images.items()
    }
    lesions = []
    for number, planted in enumerate(twins.planted, start=1):
        where = twins.lesions == number
        if not where.any():
            continue  # between two slices
        near = ndimage.binary_dilation(where)
        score = {
            name: max((mark.score for mark in of_ill if near[mark.place]), default=-np.inf)
            for name, (_, of_ill) in marks.items()
        }
        difference = {name: float((ill[where] - well[where]).mean()) for name, (well, ill) in images.items()}
        truth = difference[IDENTITY], difference[TRUTH]
        lesions.append(LesionResult(planted.pattern, planted.organ, planted.diameter, *truth, score, difference))
    known = [*marks[IDENTITY][0], *marks[TRUTH][0]]
    false = {name: [mark.score for mark in of_well] for name, (of_well, _) in marks.items()}
    novel = {name: [one.score for one in marks[name][0] if _is_novel(one, known, twins.spacing)] for name in methods}
    residual = {}
    for name, undo in back.items():
        off = np.abs(within(undo(images[name][0])) - plain[0])
        of: Residuals = {"invented": [], "real": []}
        for mark in marks[name][0]:
            kind = "invented" if _is_novel(mark, known, twins.spacing) else "real"
            of[kind].append((mark.score, _around(off, mark, twins.spacing)))
        residual[name] = of
    return PatientResult(twins.patient, lesions, false, novel, residual)


def _is_novel(mark: Mark, known: Sequence[Mark], spacing: Sequence[float]) -> bool:
    alike = [one.place for one in known if 2 * one.score >= mark.score]
    away = (np.linalg.norm(np.subtract(mark.place, place) * spacing) for place in alike)
    return bool(min(away, default=np.inf) > SAME_PLACE)


def _around(volume: Volume, mark: Mark, spacing: Sequence[float]) -> float:
    """Return the mean over a ball of the mark's diameter."""
    reach = [int(mark.diameter / 2 / step) for step in spacing]
    box = tuple(slice(max(at - more, 0), at + more + 1) for at, more in zip(mark.place, reach, strict=True))
    part = volume[box]
    places = np.moveaxis(np.indices(part.shape), 0, -1) + [one.start for one in box] - np.array(mark.place)
    return float(part[np.linalg.norm(places * spacing, axis=-1) <= mark.diameter / 2].mean())


def summarize(patients: Sequence[PatientResult], seed: int = 0) -> dict[str, Any]:
    """Count what was found, shown, lost and invented.

    Returns:
        ``threshold`` of the reader; ``lesions`` by part and pattern; and by method, ``found``, ``merit`` and ``curves``
        by part, ``fate`` by pattern and part, ``invented`` for each patient, ``residual``, how it tells invented ones.
        Figures are a list of value, lowest and highest; None where there is nothing to count.
    """
    threshold = threshold_at([one.false[TRUTH] for one in patients], FALSE_MARKS)
    drawn = np.random.default_rng(seed).integers(len(patients), size=(RESAMPLES, len(patients)))
    parts = [f"{size}, {seen}" for size in SIZE_NAMES.values() for seen in SEEN.values()]

    def interval(figure: Callable[[Sequence[PatientResult]], float | None]) -> list[float] | None:
        if (value := figure(patients)) is None:
            return None
        again = [figure([patients[at] for at in chosen]) for chosen in drawn]
        known = [other for other in again if other is not None]
        return [value, *(float(limit) for limit in np.quantile(known, (0.025, 0.975)))]

    def responses(name: str, part: str, of: Sequence[PatientResult]) -> FreeResponse | None:
        lesions = [lesion for one in of for lesion in one.lesions if lesion.part == part and abs(lesion.true) >= TRULY]
        marks = [one.false[name] for one in of]
        return FreeResponse([lesion.score[name] for lesion in lesions], marks) if lesions else None

    def found(name: str, part: str, of: Sequence[PatientResult]) -> float | None:
        return None if (free := responses(name, part, of)) is None else free.found_beside(FALSE_MARKS)

    def merit(name: str, part: str, of: Sequence[PatientResult]) -> float | None:
        return None if (free := responses(name, part, of)) is None else free.figure_of_merit()

    def invented(name: str, of: Sequence[PatientResult]) -> float:
        return float(np.mean([sum(score >= threshold for score in one.novel[name]) for one in of]))

    def sides(name: str, of: Sequence[PatientResult]) -> list[list[float]]:
        kinds = ("invented", "real")
        return [[v for one in of for score, v in one.residual[name][kind] if score >= threshold] for kind in kinds]

    def told_apart(name: str, of: Sequence[PatientResult]) -> float | None:
        return area_under_curve(*sides(name, of))

    methods: dict[str, Any] = {}
    for name in patients[0].false:
        every = [lesion for one in patients for lesion in one.lesions]
        curves = {part: responses(name, part, patients) for part in parts}
        methods[name] = {
            "found": {part: interval(partial(found, name, part)) for part in parts},
            "merit": {part: interval(partial(merit, name, part)) for part in parts},
            "fate": {
                **{pattern: _fates(name, [one for one in every if one.pattern == pattern]) for pattern in PATTERNS},
                **{part: _fates(name, [one for one in every if one.part == part]) for part in parts},
            },
            "curves": {part: None if free is None else _drawn(free) for part, free in curves.items()},
        }
        if name in patients[0].novel:
            methods[name]["invented"] = interval(partial(invented, name))
        if name in patients[0].residual:
            numbers = dict(zip(("invented", "real"), map(len, sides(name, patients)), strict=True))
            methods[name]["residual"] = {**numbers, "told_apart": interval(partial(told_apart, name))}
    return {"threshold": threshold, "methods": methods}


def _drawn(free: FreeResponse) -> list[list[float]]:
    false, found = free.curve()
    steps = (false <= MOST_FALSE) & np.concatenate([[True], np.diff(found) > 0])
    return [
        np.round([*axis[steps], last], 4).tolist() for axis, last in ((false, MOST_FALSE), (found, found[steps][-1]))
    ]


def _fates(name: str, lesions: Sequence[LesionResult]) -> dict[str, Any]:
    """Count what becomes of lesions, those that fade in the CECT apart."""
    there = [one for one in lesions if abs(one.true) >= TRULY]
    fading = [one for one in lesions if abs(one.true) < TRULY]
    fates = [one.fate(name) for one in there]
    return {
        "lesions": len(there),
        **{fate: fates.count(fate) for fate in FATES},
        "true_hu": float(np.mean([one.true for one in there])) if there else None,
        "made_hu": float(np.mean([one.difference[name] for one in there])) if there else None,
        "fading": len(fading),
        "shown_though_fading": sum(abs(one.difference[name]) >= TRULY for one in fading),
    }


def _cell(values: Sequence[float] | None) -> str:
    return "–" if values is None else "{:.2f} [{:.2f}, {:.2f}]".format(*values)


def _fate_cell(fate: Mapping[str, Any]) -> str:
    if fate["lesions"]:
        return f"{fate['made_hu']:+.0f}: {fate['shown']}, {fate['lost']}, {fate['reversed']}"
    return f"{fate['shown_though_fading']} of {fate['fading']}" if fate["fading"] else "–"


def tables(summary: Mapping[str, Any]) -> str:
    """Lay out the figures in Markdown."""
    methods = summary["methods"]
    truth = methods[TRUTH]
    parts = [part for part, value in truth["found"].items() if value is not None]
    by_part = ["method", *(f"{part} ({truth['fate'][part]['lesions']})" for part in parts)]

    def title(pattern: str) -> str:
        of = truth["fate"][pattern]
        return f"{pattern} ({of['lesions']}; {of['true_hu']:+.0f})" if of["lesions"] else f"{pattern} ({of['fading']})"

    def made(of: Mapping[str, Any]) -> list[str]:
        if "residual" not in of:
            return [_cell(of["invented"]), "–", "–"]
        back = of["residual"]
        return [_cell(of["invented"]), f"{back['invented']}, {back['real']}", _cell(back["told_apart"])]

    kinds = {key: [[name, *(_cell(of[key][part]) for part in parts)] for name, of in methods.items()] for key in TABLES}
    fates = [[name, *(_fate_cell(of["fate"][pattern]) for pattern in PATTERNS)] for name, of in methods.items()]
    novel = [[name, *made(of)] for name, of in methods.items() if "invented" in of]
    return "\n\n".join(
        [
            *(text for key, said in TABLES.items() for text in (said, markdown_table(by_part, kinds[key]))),
            "Mean HU between the twins: lesions shown, lost, reversed. Of lesions that fade in the CECT: those that are"
            " shown all the same. In brackets their number, and the true HU.",
            markdown_table(["method", *map(title, PATTERNS)], fates),
            f"Invented findings, scores of {summary['threshold']:.1f} or more:",
            markdown_table(["method", "in a patient", "marks: invented, real", "told apart by the residual"], novel),
        ]
    )


TABLES = {
    "found": "Share of the lesions found beside one false mark in a patient, number of lesions in brackets:",
    "merit": "Figure of merit, the chance that a lesion has a higher score than a healthy patient's highest mark:",
}


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Draw the free-response curves: lesions that the plain scan shows above, the others below."""
    import matplotlib.pyplot as plt

    methods = summary["methods"]
    fig, axes = plt.subplots(2, len(SIZES), figsize=(11, 6.8), sharex=True, sharey=True, layout="constrained")
    styles: dict[str, dict[str, Any]] = {IDENTITY: {"color": "0.5", "ls": "--"}, TRUTH: {"color": "k", "ls": "--"}}
    styles |= {name: {"color": f"C{n + (n >= 7)}"} for n, name in enumerate(n for n in methods if n not in styles)}
    for ax, part in zip(axes.T.ravel(), methods[TRUTH]["curves"], strict=True):
        ax.set_title(f"{part} ({methods[TRUTH]['fate'][part]['lesions']})", fontsize=9)
        for name, of in methods.items():
            if of["curves"][part] is not None:
                ax.step(*of["curves"][part], where="post", lw=1.3, **styles[name])
        ax.set(xlim=(0, MOST_FALSE), ylim=(0, 1.02))
        ax.grid(alpha=0.3)
    full = next((ax for ax in axes.ravel() if ax.get_lines()), axes[0, 0])
    fig.legend(full.get_lines(), list(methods), loc="outside upper center", ncols=5, fontsize=9)
    fig.supxlabel("false marks in a patient without lesions")
    fig.supylabel("share of the lesions found")
    fig.savefig(path, dpi=110)
    plt.close(fig)


def _named(given: Sequence[str]) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    for text in given:
        name, _, path = text.partition("=")
        if not (name and path) or name in (IDENTITY, TRUTH, *paths):
            raise InputError(f"--weights: expected NAME=PATH, each name once, but got {text}")
        paths[name] = Path(path)
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables and, with ``--out``, write them; return 2 for wrong input, said in one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--weights", nargs="+", required=True, metavar="NAME=PATH")
    parser.add_argument("--patients", type=int, default=8, help="virtual patients of each label map")
    parser.add_argument("--seed", type=int, default=26, help="of the patients and of their lesions")
    parser.add_argument("--work", type=Path, default=Path("runs", "findings"), help="folder that keeps the patients")
    parser.add_argument("--out", type=Path, help="folder for findings.json, findings.md and findings.png")
    given = parser.parse_args(arguments)
    try:
        if given.patients < 1:
            raise InputError(f"--patients: expected at least 1 but got {given.patients}")
        paths = _named(given.weights)
        networks = {name: Weights(path) for name, path in paths.items()}
        beside = {name: path.with_name(AUXILIARY) for name, path in paths.items()}
        auxiliary = {name: Weights(path) for name, path in beside.items() if path.is_file()}
        low, high = common_window([*networks.values(), *auxiliary.values()]).inverse(torch.tensor([-1.0, 1.0])).tolist()
        methods: dict[str, Enhance] = {name: one.enhance for name, one in networks.items()}
        back: dict[str, Enhance] = {name: one.enhance for name, one in auxiliary.items()}
        made = tqdm(make_twins(given.data, given.patients, given.seed, given.work), "twins", unit="patient")
        patients = [measure_twins(twins, methods, back, (low, high)) for twins in made]
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    summary = summarize(patients)
    lesions = sum(len(one.lesions) for one in patients)
    heading = f"{lesions} lesions of {len(patients)} virtual patients; 95 % intervals over patients"
    text = f"{heading}\n\n{tables(summary)}\n"
    print(text)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        facts: dict[str, Any] = {"patients": len(patients), "lesions": lesions, "seed": given.seed, "hardware": host()}
        facts["weights"] = {name: one.said.plain() for name, one in networks.items()}
        write_json(given.out / "findings.json", {**facts, **summary})
        (given.out / "findings.md").write_text(text, encoding="utf-8")
        draw(summary, given.out / "findings.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
