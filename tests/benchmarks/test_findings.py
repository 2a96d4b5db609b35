"""Tests of what becomes of lesions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import findings
from benchmarks.findings import LesionResult, PatientResult, draw, main, measure_twins, summarize, tables
from benchmarks.twins import Twins
from monai_nce.virtual import LABELS, PlantedLesion

SHAPE, SPACING = (40, 36, 14), (2.5, 2.5, 4.0)


def twins() -> Twins:
    """Make a liver with two balls: one that plain scan and CECT show, one in the CECT alone."""
    rng = np.random.default_rng(1)
    tissues = np.zeros(SHAPE, np.uint8)
    tissues[2:38, 2:34, 1:13] = LABELS["liver"]
    lesions = np.zeros(SHAPE, np.uint8)
    for number, at in enumerate(((12, 18, 7), (28, 18, 7)), start=1):
        away = np.stack(np.indices(SHAPE), axis=-1) - at
        lesions[np.linalg.norm(away * SPACING, axis=-1) <= 9] = number
    noise = rng.normal(0, 8, (2, *SHAPE))
    plain, cect = (np.where(tissues, hu, -1000) + noise[side] for side, hu in enumerate((58, 110)))
    ill_plain, ill_cect = plain - 30 * (lesions == 1), cect - 50 * (lesions == 1) + 40 * (lesions == 2)
    both = [tuple(np.rint(hu).astype(np.int16) for hu in pair) for pair in ((plain, ill_plain), (cect, ill_cect))]
    planted = [PlantedLesion("shown, hypo", "liver", 18.0), PlantedLesion("hidden, hyper", "liver", 18.0)]
    return Twins("p", both[0], both[1], tissues, lesions, planted, SPACING)  # type: ignore[arg-type]


def brighter(hu: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(hu > 0, hu + 52, hu), np.float32)


def inventing(hu: np.ndarray) -> np.ndarray:
    made = brighter(hu)
    made[18:23, 6:11, 5:8] -= 60
    return made


def test_shown_lost_and_invented() -> None:
    result = measure_twins(twins(), {"plain": brighter, "bad": inventing}, {}, (-100, 200))
    first, second = result.lesions
    assert (first.plain, first.true) == pytest.approx((-30, -50), abs=0.6)
    assert (second.plain, second.true) == pytest.approx((0, 40), abs=0.6)
    assert first.part == "10 to 20 mm, plain scan shows it" and second.part == "10 to 20 mm, plain scan does not"
    assert (first.fate("plain"), second.fate("plain")) == ("shown", "lost")
    assert (first.fate("truth"), second.fate("truth")) == ("shown", "shown")
    assert first.score["truth"] > 8 and first.score["plain"] > 4 and second.score["truth"] > 8
    assert max(result.novel["bad"]) > 5 > max(result.novel["plain"], default=0)


def test_the_residual_around_what_was_invented() -> None:
    result = measure_twins(twins(), {"bad": inventing}, {"bad": lambda hu: hu - np.float32(52)}, (-100, 200))
    of = result.residual["bad"]
    worst = max(of["invented"])
    assert worst[1] > 3 * np.mean([value for _, value in of["real"]])


def lesion(true: float, made: float) -> LesionResult:
    difference = {"identity": 0.0, "truth": true, "w": made}
    return LesionResult("hidden, hyper", "liver", 8.0, 0.0, true, dict.fromkeys(difference, 3.0), difference)


@pytest.mark.parametrize(
    ("true", "made", "fate"),
    [(30, 15, "shown"), (30, 14, "lost"), (-30, -20, "shown"), (-30, 4, "lost"), (-30, 5, "reversed")],
)
def test_fates_by_hand(true: float, made: float, fate: str) -> None:
    assert lesion(true, made).fate("w") == fate


def patients() -> list[PatientResult]:
    marks = {"identity": [1.0], "truth": [2.0], "w": [5.0, 3.0]}
    novel, residual = {"w": [5.0]}, {"w": {"invented": [(5.0, 9.0)], "real": [(3.0, 1.0), (1.0, 99.0)]}}
    made = [lesion(30, 20), lesion(30, 0), lesion(5, 12)]
    return [PatientResult(f"p{number}", made, marks, novel, residual) for number in range(2)]


def test_counts_by_hand() -> None:
    summary = summarize(patients())
    assert summary["threshold"] == 2
    of = summary["methods"]["w"]
    part = "5 to 10 mm, plain scan does not"
    fate = of["fate"]["hidden, hyper"]
    assert (fate["lesions"], fate["shown"], fate["lost"], fate["fading"], fate["shown_though_fading"]) == (
        4,
        2,
        2,
        2,
        2,
    )
    assert (fate["true_hu"], fate["made_hu"]) == (30, 10)
    assert of["invented"] == [1, 1, 1]
    assert of["residual"] == {"invented": 2, "real": 2, "told_apart": [1, 1, 1]}
    assert of["found"][part] == [0, 0, 0]  # two false marks at the lesions' score, one allowed
    assert summary["methods"]["truth"]["found"][part] == [1, 1, 1]
    assert of["merit"][part] == [0, 0, 0] and summary["methods"]["identity"]["merit"][part] == [1, 1, 1]
    assert of["found"]["20 to 40 mm, plain scan shows it"] is None


def test_tables_and_picture(tmp_path: Path) -> None:
    summary = summarize(patients())
    text = tables(summary)
    assert "| w | 1.00 [1.00, 1.00] | 2, 2 | 1.00 [1.00, 1.00] |" in text
    assert "hidden, hyper (4; +30)" in text and "| +10: 2, 2, 0 |" in text.replace("| w | ", "| w | ")
    json.dumps(summary, allow_nan=False)
    draw(summary, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 10_000


@pytest.mark.parametrize("given", [["w"], ["truth=a.pt"], ["w=a.pt", "w=b.pt"], ["=a.pt"]])
def test_weights_without_a_name(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "Weights", None)
    assert main(["--data", str(tmp_path), "--weights", *given]) == 2
    assert capsys.readouterr().err.startswith("error: --weights: expected NAME=PATH")
