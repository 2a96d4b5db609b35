"""Predict volumes one by one, and go on with the next where one fails."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine
from monai.engines import SupervisedEvaluator

from monai_nce.errors import FAULT, fault_text

__all__ = ["VolumeEvaluator"]


class VolumeEvaluator(SupervisedEvaluator):
    """Predict volumes, and go on with the next where one cannot be read, computed or written.

    The output of such a volume's iteration is ``{"fault": why}``, one line without patient data.

    Args:
        go_on: False raises what went wrong.
        arguments: of :class:`monai.engines.SupervisedEvaluator`. The loader may give an exception in place of a batch,
            as :class:`~monai_nce.data.AttemptedDataset` does.
    """

    def __init__(self, *, go_on: bool = True, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.go_on = go_on

    def _iteration(self, engine: Engine, batchdata: Any) -> Any:
        try:
            if isinstance(batchdata, Exception):
                raise batchdata
            return super()._iteration(engine, batchdata)
        except Exception as error:
            if not self.go_on:
                raise
            return {FAULT: fault_text(error, "computed")}
