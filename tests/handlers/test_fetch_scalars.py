from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_nce.errors import InputError
from monai_nce.handlers import FetchScalars, GANBalance, LogScalars, NaNGuard, StageLog, StageProgress
from monai_nce.handlers.fetch_scalars import ScalarEvents
from tests.handlers.stage import Stage


class Counted(torch.Tensor):
    """A scalar that counts how often it, or what is computed from it, is fetched."""

    fetched: list[int] = []

    def __float__(self) -> float:
        Counted.fetched.append(1)
        return float(self.as_subclass(torch.Tensor))

    item = __float__


def run(values: list[float], every: int | None, epochs: int = 1, *handlers: Any) -> list[tuple[int, float, int]]:
    """Iteration, mean and count of each fetch."""
    engine = Engine(
        lambda engine, value: {"loss": torch.tensor(value).as_subclass(Counted), "discriminator_accuracy": 1}
    )
    engine.logger.disabled = True
    FetchScalars(every).attach(engine)
    for handler in handlers:
        handler.attach(engine)
    fetched: list[tuple[int, float, int]] = []

    @engine.on(ScalarEvents.FETCHED)
    def note(engine: Engine) -> None:
        scalars = FetchScalars.of(engine)
        fetched.append((engine.state.iteration, scalars.means["loss"], scalars.count))

    Counted.fetched.clear()
    engine.run(values, max_epochs=epochs)
    return fetched


def test_on_a_cpu_every_iteration_is_fetched() -> None:
    assert run([1.0, 2.5, -3.0], None) == [(1, 1.0, 1), (2, 2.5, 1), (3, -3.0, 1)]


def test_all_handlers_together_fetch_once_in_n_iterations_and_at_an_epoch_s_end(tmp_path: Path) -> None:
    log = StageLog(str(tmp_path))
    handlers = StageProgress("s"), NaNGuard("s"), GANBalance("s"), LogScalars(log)
    fetched = run([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0], 5, 2, *handlers)
    assert fetched == [(5, 3.0, 5), (7, 7.0, 2), (10, 2.0, 3), (14, 5.75, 4)]
    assert len(Counted.fetched) == 4
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [fetch[:2] for fetch in fetched]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_loss_between_two_fetches_is_noticed(bad: float) -> None:
    with pytest.raises(InputError, match="s: NaN or Inf in loss in epoch 1, one of the 5 iterations to 5 of 7"):
        run([1.0, bad, 1.0, 1.0, 1.0, 1.0, 1.0], 5, 1, NaNGuard("s"))


def test_a_bad_loss_between_two_fetches_reaches_no_checkpoint(tmp_path: Path) -> None:
    stage = Stage(tmp_path, 1, minutes=0, first=FetchScalars(every=100))
    NaNGuard("stage").attach(stage.trainer)
    step = stage.trainer._process_function
    stage.trainer._process_function = lambda engine, batch: {
        "loss": torch.tensor(float("nan") if engine.state.iteration == 3 else float(step(engine, batch)["loss"]))
    }
    with pytest.raises(InputError, match="epoch 1, iteration 3 of 4"):
        stage.run()
    assert sorted(file.name for file in tmp_path.glob("*.pt")) == [
        "000001-epoch0-iteration1.pt",
        "000002-epoch0-iteration2.pt",
    ]


def test_a_second_run_and_outputs_of_any_kind() -> None:
    outputs: list[Any] = [[{"loss": 8.0}], {"loss": torch.tensor(2.0), "image": torch.zeros(3), "name": "x"}, None]
    engine = Engine(lambda engine, number: outputs[number])
    scalars = FetchScalars.of(engine)
    assert scalars is FetchScalars.of(engine)
    for number, means in ((0, {"loss": 8.0}), (1, {"loss": 2.0}), (2, {"loss": 2.0})):
        engine.run([number])
        assert scalars.means == means
