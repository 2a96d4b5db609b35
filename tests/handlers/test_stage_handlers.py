from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import nn

from monai_nce.handlers import (
    GANBalance,
    NaNGuard,
    StageCheckpoint,
    StageLog,
    TrainingFolder,
    WeightsSaver,
    stage_handlers,
    validation_handlers,
)


class Validator(Engine):
    """As little of MONAI's ``Evaluator`` as the handlers need."""

    def __init__(self) -> None:
        super().__init__(lambda engine, batch: None)


@pytest.fixture
def parts(tmp_path: Path) -> dict:
    networks = {name: nn.Linear(1, 1) for name in ("model", "discriminator")}
    optimizers = [torch.optim.SGD(network.parameters(), lr=0.1) for network in networks.values()]
    return {
        "name": "stage1",
        "title": "CECT to NECT",
        "training": TrainingFolder(tmp_path / "checkpoints", resume=True, minutes=3),
        "log": StageLog(str(tmp_path / "log")),
        "savers": [
            WeightsSaver(networks["model"], tmp_path / "model.pt", best="val_mse"),
            WeightsSaver(networks["discriminator"], tmp_path / "discriminator.pt"),
        ],
        "lr_schedulers": [torch.optim.lr_scheduler.ExponentialLR(each, 0.5) for each in optimizers],
    }


def kinds(handlers: list) -> list[type]:
    return [type(handler) for handler in handlers]


def test_the_checkpoint_is_first_and_holds_all_that_is_trained(parts: dict) -> None:
    checkpoint = stage_handlers(**parts)[0]
    assert isinstance(checkpoint, StageCheckpoint)
    assert checkpoint.folder.path == parts["training"].path / "stage1" and checkpoint.name == "stage1"
    assert checkpoint.resume and checkpoint.seconds == 180
    model, discriminator = parts["savers"]
    one, other = parts["lr_schedulers"]
    assert checkpoint.objects == {
        "model": model.network, "model_best": model.best, "discriminator": discriminator.network,
        "optimizer_0": one.optimizer, "lr_scheduler_0": one, "optimizer_1": other.optimizer, "lr_scheduler_1": other,
    }  # fmt: skip


def test_each_scheduler_steps_and_each_saver_writes_after_them(parts: dict) -> None:
    handlers = stage_handlers(**parts)
    schedules = [handler for handler in handlers if isinstance(handler, LrScheduleHandler)]
    assert [handler.lr_scheduler for handler in schedules] == parts["lr_schedulers"]
    after = handlers.index(schedules[-1]) + 1
    assert handlers[after : after + 2] == parts["savers"]
    assert kinds(handlers)[-1] is NaNGuard and handlers[1].name == "stage1: CECT to NECT"


def test_the_validators_run_in_their_order_between_schedules_and_savers(parts: dict, monkeypatch) -> None:
    monkeypatch.setattr("monai.handlers.validation_handler.Evaluator", Validator)
    validators = [Validator(), Validator()]
    handlers = stage_handlers(**parts, validators=validators, val_interval=2)
    found = [handler for handler in handlers if isinstance(handler, ValidationHandler)]
    assert [handler.validator for handler in found] == validators == handlers[0].validation.validators
    last = handlers.index(found[-1])
    assert isinstance(handlers[last - 2], LrScheduleHandler) and handlers[last + 1] is parts["savers"][0]
    assert {handler.interval for handler in found} == {2}


def test_the_keys_are_shown_and_logged_and_a_discriminator_is_watched(parts: dict) -> None:
    assert GANBalance not in kinds(stage_handlers(**parts))
    keys = ["loss", "discriminator_accuracy"]
    handlers = stage_handlers(**parts, keys=keys, chance=0.25)
    assert isinstance(handlers[-1], GANBalance) and handlers[-1].collapsed == pytest.approx(0.27)
    assert handlers[1].keys == tuple(keys)


def test_an_evaluator_saves_the_best(parts: dict) -> None:
    saver = parts["savers"][0]
    assert validation_handlers(parts["log"], saver)[-1] is saver.best
    assert saver.best.key_metric == "val_mse" and saver.best.path.name == "model_best.pt"
