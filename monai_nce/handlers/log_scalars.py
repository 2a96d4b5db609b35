"""Log the scalars of a trainer's output to TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

from ignite.engine import Engine

from monai_nce.handlers.fetch_scalars import FetchScalars, ScalarEvents
from monai_nce.handlers.stage_log import StageLog

__all__ = ["LogScalars"]


class LogScalars:
    """Log the means that :class:`FetchScalars` fetches; MONAI's ``TensorBoardStatsHandler`` waits for each iteration.

    Args:
        log: the stage's TensorBoard writer.
        keys: scalars of the trainer's output.
    """

    def __init__(self, log: StageLog, keys: Sequence[str] = ("loss",)) -> None:
        self.log = log
        self.keys = tuple(keys)

    def attach(self, engine: Engine) -> None:
        FetchScalars.of(engine)
        engine.add_event_handler(ScalarEvents.FETCHED, self)

    def __call__(self, engine: Engine) -> None:
        means = FetchScalars.of(engine).means
        for key in self.keys:
            if key in means:
                self.log.add_scalar(key, means[key], engine.state.iteration)
        self.log.flush()
