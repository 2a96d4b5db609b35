"""A training whose losses are no numbers any more is stopped at once, before anything is written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events

from monai_nce.errors import InputError

__all__ = ["FiniteLosses"]


class FiniteLosses:
    """Stop a training at the first NaN or Inf in a loss of its output.

    The last checkpoints and weights stay as they are. All processes of a training stop at once, as their losses are
    means over all of them (:func:`monai_nce.engines.mean_over_ranks`). A GPU is waited for once for each loss, unless
    the output was decollated, which has waited already.

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
        bad = [key for key in keys if not math.isfinite(output[key])]
        if bad:
            names = " and ".join(bad)
            raise InputError(
                f"{self.name}: NaN or Inf in {names} in epoch {state.epoch}, iteration {state.iteration} of "
                f"{(state.max_epochs or 0) * (state.epoch_length or 0)}; the checkpoints and weights saved before are "
                "good: go on from there with --resume True and --precision fp32 or another --seed, or train anew with "
                "lower learning rates"
            )
