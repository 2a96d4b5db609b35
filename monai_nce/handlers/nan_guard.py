"""Stop training on NaN or Inf loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ignite.engine import Engine

from monai_nce.errors import InputError
from monai_nce.handlers.fetch_scalars import FetchScalars, ScalarEvents

__all__ = ["NaNGuard"]


class NaNGuard:
    """Raise an InputError on NaN or Inf in a loss of a trainer's output, once :class:`FetchScalars` sees it.

    All processes stop at once, as their losses are means over all of them. After Ignite's ``TerminateOnNan`` weights
    would be saved and the next stage would begin.

    Args:
        name: name of the stage, for the message.
        keys: of the engine's output; None takes every key that ends in "loss".
    """

    def __init__(self, name: str, keys: Sequence[str] | None = None) -> None:
        self.name = name
        self.keys = keys

    def attach(self, engine: Engine) -> None:
        FetchScalars.of(engine)
        engine.add_event_handler(ScalarEvents.FETCHED, self)

    def __call__(self, engine: Engine) -> None:
        scalars = FetchScalars.of(engine)
        keys = [key for key in scalars.means if key.endswith("loss")] if self.keys is None else self.keys
        if bad := [key for key in keys if not math.isfinite(scalars.means[key])]:
            state: Any = engine.state
            where = f"iteration {state.iteration}"
            if scalars.count > 1:
                where = f"one of the {scalars.count} iterations to {state.iteration}"
            raise InputError(
                f"{self.name}: NaN or Inf in {' and '.join(bad)} in epoch {state.epoch}, {where} of "
                f"{(state.max_epochs or 0) * (state.epoch_length or 0)}; the checkpoints and weights saved before are "
                "good: go on from there with --resume True and --precision fp32 or another --seed, or train anew with "
                "lower learning rates"
            )
