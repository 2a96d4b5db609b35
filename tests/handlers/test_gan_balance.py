from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine

from monai_nce.handlers import GANBalance


def warnings_of(accuracies: list[float], capsys: pytest.CaptureFixture, **options: Any) -> list[str]:
    engine = Engine(lambda engine, accuracy: [{"discriminator_accuracy": torch.tensor(accuracy)}])
    GANBalance("stage 1", **options).attach(engine)
    engine.run(accuracies)
    return capsys.readouterr().err.splitlines()


def noisy(mean: float, count: int) -> list[float]:
    """Accuracies of batches of twelve answers."""
    return (np.random.default_rng(0).binomial(12, mean, count) / 12).tolist()


def test_a_winner_is_said_once(capsys: pytest.CaptureFixture) -> None:
    (line,) = warnings_of(noisy(0.98, 1500), capsys)
    assert line.startswith("warning: stage 1: the discriminator has won: 97% of its answers are right")
    assert "lower learning rate of the discriminator" in line


@pytest.mark.parametrize("accuracies", [[1 / 3] * 1000, noisy(1 / 3, 1000), noisy(0.1, 1000)])
def test_a_collapse_is_said_once(accuracies: list[float], capsys: pytest.CaptureFixture) -> None:
    (line,) = warnings_of(accuracies, capsys)
    assert line.startswith("warning: stage 1: the discriminator has collapsed") and "chance" in line


@pytest.mark.parametrize("mean", [0.45, 2 / 3, 0.9])
def test_a_fair_game_is_left_alone(mean: float, capsys: pytest.CaptureFixture) -> None:
    assert warnings_of(noisy(mean, 2000), capsys) == []


def test_the_beginning_is_left_alone(capsys: pytest.CaptureFixture) -> None:
    assert warnings_of([1.0] * 299, capsys) == []
    assert len(warnings_of([1.0] * 300, capsys)) == 1


def test_a_game_that_tips_late_is_noticed(capsys: pytest.CaptureFixture) -> None:
    assert len(warnings_of(noisy(0.7, 2000) + [1.0] * 1500, capsys)) == 1


def test_two_classes_that_cannot_be_told_apart_are_a_gans_optimum(capsys: pytest.CaptureFixture) -> None:
    for accuracies in ([0.5] * 1000, noisy(0.5, 1000), noisy(0.3, 1000)):
        assert warnings_of(accuracies, capsys, chance=0.5) == []
    assert len(warnings_of([1.0] * 400, capsys, chance=0.5)) == 1  # but it can win


def test_rank_0_alone_warns(capsys: pytest.CaptureFixture, as_rank: Any) -> None:
    as_rank(1, 2)
    assert warnings_of([1.0] * 400, capsys) == []
