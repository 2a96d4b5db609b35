"""A training whose losses are no numbers any more is stopped at once, before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events

from monai_nce.errors import InputError

from .ranks import agree

__all__ = ["FiniteLosses"]


class FiniteLosses:
    """Stop a training at the first NaN or Inf in a loss of its output, on every process.

    The last checkpoints and weights stay as they are. A GPU is waited for once per iteration.

    Args:
        name: of the stage, for the message.
        keys: of the engine's output; None takes every key that ends in "loss".

    Raises:
        InputError: while training, at the iteration whose loss is not finite.
    """

    def __init__(self, name: str, keys: Sequence[str] | None = None) -> None:
        self.name = name
        self.keys = keys

    def attach(self, engine: Engine) -> None:
        """Args: engine: the stage's trainer."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        output: Mapping[str, Any] = state.output[0] if isinstance(state.output, (list, tuple)) else state.output
        keys = [key for key in output if key.endswith("loss")] if self.keys is None else list(self.keys)
        losses = torch.stack([torch.as_tensor(output[key], device=state.device).detach().float() for key in keys])
        bad = agree(*(not finite for finite in losses.isfinite().tolist()))
        if any(bad):
            names = " and ".join(key for key, is_bad in zip(keys, bad, strict=True) if is_bad)
            raise InputError(
                f"{self.name}: NaN or Inf in {names} in epoch {state.epoch}, iteration {state.iteration} of "
                f"{(state.max_epochs or 0) * (state.epoch_length or 0)}; the checkpoints and weights saved before are "
                "good: go on from there with --resume True and --precision fp32 or another --seed, or train anew with "
                "lower learning rates"
            )
