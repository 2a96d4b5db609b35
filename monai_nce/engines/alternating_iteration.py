"""Run an iteration of a trainer of several networks within MONAI's ``SupervisedTrainer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import SupervisedTrainer

from .alternating_trainer import AlternatingTrainer

__all__ = ["AlternatingIteration"]


class AlternatingIteration:
    """Run one iteration of an :class:`AlternatingTrainer`, as ``iteration_update`` of a ``SupervisedTrainer``.

    MONAI's tools for federated learning take no other trainer, and exchange the weights of its one ``network``: a
    ``ModuleDict`` of all that the alternating trainer updates. That trainer is never run itself; its handlers belong to
    the ``SupervisedTrainer``.

    Args:
        trainer: made with the same precision as the ``SupervisedTrainer`` (``amp=precision.scales``).
    """

    def __init__(self, trainer: AlternatingTrainer) -> None:
        self.trainer = trainer

    def __call__(self, engine: SupervisedTrainer, batchdata: Mapping[str, torch.Tensor]) -> Any:
        """Return ``engine.state.output`` as the alternating trainer makes it."""
        self.trainer.scaler = engine.scaler
        return self.trainer._iteration(engine, batchdata)
