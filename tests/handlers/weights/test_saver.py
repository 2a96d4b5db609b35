from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_nce.errors import InputError
from monai_nce.handlers import WeightsLoader, WeightsSaver


def make_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network(torch.rand(2, 3, 8, 8))
    return network


def set_bias(network: nn.Module, value: float) -> None:
    with torch.no_grad():
        network[0].bias.fill_(value)


def saved_bias(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["0.bias"][0])


def evaluate(saver: WeightsSaver, network: nn.Module, scores: list[float]) -> list[float]:
    """Run an evaluator once per score, with the run's number as the weight; the saved number after each."""
    engine = Engine(lambda engine, batch: None)
    scores_left = iter(scores)

    @engine.on(Events.EPOCH_COMPLETED)
    def measure(engine: Engine) -> None:
        engine.state.metrics["score"] = next(scores_left)

    saver.attach(engine)
    kept = []
    for number in range(len(scores)):
        set_bias(network, number)
        engine.run([0])
        kept.append(saved_bias(saver.path) if saver.path.exists() else float("nan"))
    return kept


def test_what_is_saved_can_be_loaded(tmp_path: Path) -> None:
    trained, network, path = make_network(1), make_network(0), tmp_path / "models" / "model.pt"
    trainer = Engine(lambda engine, batch: None)
    WeightsSaver(trained, path).attach(trainer)
    trainer.run([0])
    evaluator = Engine(lambda engine, batch: None)
    WeightsLoader(network, path).attach(evaluator)
    evaluator.run([0])
    for name, value in trained.state_dict().items():
        assert torch.equal(network.state_dict()[name], value), name
    weights = torch.load(path, weights_only=True)
    assert all(value.device.type == "cpu" and not value.requires_grad for value in weights.values())
    assert [file.name for file in path.parent.iterdir()] == ["model.pt"]


def test_each_end_is_saved_without_a_key_metric(tmp_path: Path) -> None:
    network = make_network()
    assert evaluate(WeightsSaver(network, tmp_path / "last.pt"), network, [1.0, 5.0, 3.0]) == [0, 1, 2]


def test_the_best_is_kept(tmp_path: Path) -> None:
    network = make_network()
    saver = WeightsSaver(network, tmp_path / "best.pt", key_metric="score")
    assert evaluate(saver, network, [3.0, 4.0, 2.0, 2.0, float("nan"), 1.0]) == [0, 0, 2, 2, 2, 5]


def test_the_best_may_be_the_highest(tmp_path: Path) -> None:
    network = make_network()
    saver = WeightsSaver(network, tmp_path / "best.pt", key_metric="score", lower_is_better=False)
    assert evaluate(saver, network, [-3.0, -4.0, -2.0, 7.0, 6.0]) == [0, 0, 2, 3, 3]


@pytest.mark.parametrize("validated", [False, True])
def test_the_best_of_an_earlier_training_goes_at_the_end(tmp_path: Path, validated: bool) -> None:
    network, stale = make_network(), tmp_path / "model_best.pt"
    stale.write_bytes(b"earlier")
    best = WeightsSaver(network, stale, key_metric="score")
    trainer = Engine(lambda engine, batch: None)
    if validated:
        evaluate(best, network, [2.0])
    WeightsSaver(network, tmp_path / "model.pt", best=best).attach(trainer)
    trainer.run([0])
    assert stale.exists() == validated and (tmp_path / "model.pt").exists()
    resumed = WeightsSaver(network, stale, key_metric="score")
    resumed.load_state_dict(best.state_dict())
    WeightsSaver(network, tmp_path / "model.pt", best=resumed)(trainer)
    assert stale.exists() == validated


def test_nothing_is_saved_after_an_exception(tmp_path: Path) -> None:
    def fail(engine: Engine, batch: Any) -> None:
        raise ArithmeticError("no loss")

    engine = Engine(fail)
    engine.logger.disabled = True
    WeightsSaver(make_network(), tmp_path / "model.pt").attach(engine)
    with pytest.raises(ArithmeticError):
        engine.run([0])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, path = make_network(), tmp_path / "model.pt"
    saver = WeightsSaver(network, path)
    engine = Engine(lambda engine, batch: None)
    saver(engine)
    old = path.read_bytes()

    def half(weights: Any, file: BinaryIO) -> None:
        file.write(old[: len(old) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    set_bias(network, 9)
    with pytest.raises(InputError, match=r"model\.pt: cannot be written: No space left on device"):
        saver(engine)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_spoilt_weights_leave_the_old_file(tmp_path: Path, value: float) -> None:
    network, path = make_network(), tmp_path / "model.pt"
    saver, engine = WeightsSaver(network, path), Engine(lambda engine, batch: None)
    saver(engine)
    old = path.read_bytes()
    with torch.no_grad():
        network[0].bias[2] = value
    with pytest.raises(InputError, match=r"model\.pt: not saved: Sequential holds NaN or Inf"):
        saver(engine)
    assert path.read_bytes() == old


@pytest.mark.parametrize("rank", [0, 1])
def test_rank_0_alone_saves(tmp_path: Path, as_rank: Any, rank: int) -> None:
    engine = Engine(lambda engine, batch: None)
    as_rank(rank, 2)
    WeightsSaver(make_network(), tmp_path / "model.pt").attach(engine)
    engine.run([0])
    assert (tmp_path / "model.pt").exists() == (rank == 0)


def test_the_network_inside_a_wrapper_is_saved(tmp_path: Path) -> None:
    network = make_network()
    WeightsSaver(nn.DataParallel(network), tmp_path / "model.pt")(Engine(lambda engine, batch: None))
    assert set(torch.load(tmp_path / "model.pt", weights_only=True)) == set(network.state_dict())


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    network = make_network()
    for name in ("a.pt", "b.pt"):
        WeightsSaver(network, tmp_path / name)(Engine(lambda engine, batch: None))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
