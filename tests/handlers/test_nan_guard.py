from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Engine

from monai_nce.errors import InputError
from monai_nce.handlers import NaNGuard


def run(outputs: list[Any], handler: NaNGuard) -> Engine:
    engine = Engine(lambda engine, batch: outputs[batch])
    engine.logger.disabled = True
    handler.attach(engine)
    engine.run(range(len(outputs)), max_epochs=2)
    return engine


def output(loss: float = 1.0, discriminator_loss: float = 2.0) -> dict[str, torch.Tensor]:
    return {
        "image": torch.full((2, 3), float("nan")),
        "loss": torch.tensor(loss),
        "discriminator_loss": torch.tensor(discriminator_loss, dtype=torch.bfloat16),
    }


def test_good_losses_pass() -> None:
    assert run([output(), output(-3.0), [output()]], NaNGuard("stage 1")).state.iteration == 6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("decollated", [False, True])
def test_the_first_bad_one_is_named(value: float, decollated: bool) -> None:
    bad: Any = output(discriminator_loss=value)
    with pytest.raises(InputError) as raised:
        run([output(), [bad, bad] if decollated else bad, output()], NaNGuard("stage 1"))
    message = str(raised.value)
    assert message.startswith("stage 1: NaN or Inf in discriminator_loss in epoch 1, iteration 2 of 6;")
    assert "--resume True" in message


def test_all_bad_ones_are_named() -> None:
    with pytest.raises(InputError, match="NaN or Inf in loss and discriminator_loss in epoch 1, iteration 1"):
        run([output(float("nan"), float("inf"))], NaNGuard("stage 1"))


def test_only_the_configured_keys_count() -> None:
    assert run([output(discriminator_loss=float("nan"))], NaNGuard("s", keys=["loss"])).state.iteration == 2
    with pytest.raises(InputError, match="in other "):
        run([{**output(), "other": float("nan")}], NaNGuard("s", keys=["loss", "other"]))
