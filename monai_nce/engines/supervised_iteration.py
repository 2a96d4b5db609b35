"""Run an iteration of MONAI's ``SupervisedTrainer`` in any precision and with many processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import IterationEvents, SupervisedTrainer
from monai.utils.enums import CommonKeys as Keys

from monai_nce.distributed import mean_over_ranks
from monai_nce.errors import InputError

from .amp import Precision

__all__ = ["SupervisedIteration"]


class SupervisedIteration:
    """Run one iteration of a ``SupervisedTrainer``, as ``iteration_update``, with MONAI's own events and outputs.

    MONAI's knows mixed precision as fp16 on CUDA only. Here ``prepare_batch``, which may run a frozen network, the
    network and the loss run in the given precision; ``pred`` is fp32 again. ``loss`` in ``engine.state.output`` is the
    mean over all processes once the step is made.

    Args:
        precision: give the trainer ``amp=precision.scales`` too; None is fp32.
    """

    def __init__(self, precision: Precision | None = None) -> None:
        self.precision = Precision() if precision is None else precision

    def __call__(self, engine: SupervisedTrainer, batchdata: Mapping[str, torch.Tensor]) -> Any:
        """Return ``engine.state.output``: ``image``, ``label``, ``pred`` and ``loss``, or a list if decollated.

        Raises:
            InputError: when the trainer is to accumulate gradients over several iterations.
        """
        if getattr(engine, "accumulation_steps", 1) != 1:
            raise InputError(f"expected accumulation_steps of 1 but got {engine.accumulation_steps}: use --batch_size")
        with self.precision.autocast():
            images, labels, *more = engine.prepare_batch(
                batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs
            )
        args, kwargs = more or ((), {})
        output: dict[str, Any] = {Keys.IMAGE: images, Keys.LABEL: labels}
        engine.state.output = output
        engine.network.train()
        engine.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            output[Keys.PRED] = engine.inferer(images, engine.network, *args, **kwargs).float()
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            loss = engine.loss_function(output[Keys.PRED], labels).mean()
        output[Keys.LOSS] = loss
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        self.precision.backward(loss, engine.scaler)
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self.precision.step(engine.scaler, engine.optimizer)
        output[Keys.PRED] = output[Keys.PRED].detach()
        output |= mean_over_ranks({Keys.LOSS: loss})
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output  # not `output`: a handler may have taken the batch apart
