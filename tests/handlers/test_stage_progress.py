from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from ignite.engine import Engine

from monai_nce import terminal
from monai_nce.handlers import StageProgress

OUTPUTS = [1.0, 3.0, 2.0]


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The bars that are made, each with the sequence of its texts."""
    made: list[Any] = []

    class Recorded(terminal.LineBar):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.texts: list[str] = []
            self.closed = 0
            made.append(self)

        def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
            self.texts.append(s)
            super().set_postfix_str(s, refresh)

        def close(self) -> None:
            self.closed = getattr(self, "closed", 0) + 1
            super().close()

    monkeypatch.setattr(terminal, "LineBar", Recorded)
    monkeypatch.setattr(terminal, "auto_tqdm", Recorded)
    return made


def make_engine(outputs: list[Any]) -> Engine:
    values: Iterator[Any] = iter(outputs)
    return Engine(lambda engine, batch: next(values))


def test_one_bar_counts_the_iterations_of_all_epochs(bars: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    engine = make_engine([{"loss": 0.5}] * 6)
    StageProgress("stage 1/2 CECT -> NECT").attach(engine)
    engine.run([0, 1, 2], max_epochs=2)
    (bar,) = bars
    assert (bar.total, bar.n, bar.closed) == (6, 6, 1)
    assert "stage 1/2 CECT -> NECT" in capsys.readouterr().err
    assert bar.texts[0].startswith("epoch 1/2 ") and bar.texts[-1].startswith("epoch 2/2 ")


def test_means_run(bars: list[Any]) -> None:
    engine = make_engine([{"loss": torch.tensor(value), "accuracy": 1, "image": torch.zeros(3)} for value in OUTPUTS])
    StageProgress("stage", keys=["loss", "accuracy", "image", "absent"]).attach(engine)
    engine.run([0, 1, 2])
    second = 0.05 * 3 + 0.95 * 1
    third = 0.05 * 2 + 0.95 * second
    expected = [f"loss={mean:.3f} accuracy=1.000" for mean in (1.0, second, third)]
    assert bars[0].texts == expected


def test_decollated_outputs_are_understood(bars: list[Any]) -> None:
    engine = make_engine([[{"loss": 4.0}, {"loss": 4.0}]])
    StageProgress("stage").attach(engine)
    engine.run([0])
    assert bars[0].texts == ["loss=4.000"]


def test_a_second_run_starts_anew(bars: list[Any]) -> None:
    engine = make_engine([{"loss": 8.0}, {"loss": 2.0}])
    StageProgress("stage").attach(engine)
    engine.run([0])
    engine.run([0])
    assert [bar.texts for bar in bars] == [["loss=8.000"], ["loss=2.000"]]


def test_an_exception_closes_the_bar_and_is_raised(bars: list[Any]) -> None:
    def fail(engine: Engine, batch: int) -> dict[str, float]:
        if engine.state.iteration == 2:
            raise ArithmeticError("no loss")
        return {"loss": 1.0}

    engine = Engine(fail)
    engine.logger.disabled = True
    StageProgress("stage").attach(engine)
    with pytest.raises(ArithmeticError, match="no loss"):
        engine.run([0, 1, 2])
    assert (bars[0].closed, bars[0].n) == (1, 1)


def test_rank_1_draws_nothing(bars: list[Any], capsys: pytest.CaptureFixture[str], as_rank: Any) -> None:
    as_rank(1, 2)
    engine = make_engine([{"loss": 1.0}])
    StageProgress("stage").attach(engine)
    engine.run([0])
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""
    assert bars[0].disable and bars[0].texts == []


def test_an_evaluator_without_losses(bars: list[Any]) -> None:
    engine = make_engine([[{"pred": torch.zeros(3)}]] * 2)
    StageProgress("evaluation", keys=[]).attach(engine)
    engine.run([0, 1])
    assert (bars[0].n, bars[0].total) == (2, 2)


def test_a_file_gets_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert not sys.stderr.isatty()  # pytest's capture stands for a log file
    engine = make_engine([{"loss": 1.0}] * 500)
    StageProgress("stage").attach(engine)
    engine.run(list(range(500)))
    drawn = capsys.readouterr().err
    assert drawn.count("stage:") <= 2  # the last, and one before on a slow machine
    assert "500/500" in drawn and "loss=1.000" in drawn
