"""Share mixed precision, optimiser steps and frozen networks among trainers of several networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from monai.engines import Trainer
from torch import nn
from torch.optim import Optimizer

from .amp import Precision
from .parallel import bare
from .prepare_batch import on_device

__all__ = ["AlternatingTrainer"]


class AlternatingTrainer(Trainer):
    """Update generators and discriminators in turn: the base of such trainers.

    Args:
        device: where to train.
        max_epochs: epochs to train.
        train_data_loader: gives dictionaries of images.
        precision: how the networks run; fp32 if None.
        kwargs: the rest, as in :class:`monai.engines.Trainer`, less ``amp``, which ``precision`` replaces; its
            ``handlers`` is called ``train_handlers`` as in MONAI's other trainers.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        precision: Precision | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs["handlers"] = kwargs.pop("train_handlers", None)
        self.precision = Precision("fp32", device) if precision is None else precision
        super().__init__(
            device=device, max_epochs=max_epochs, data_loader=train_data_loader, amp=self.precision.scales, **kwargs
        )

    def _images(self, batchdata: Mapping[str, torch.Tensor], *keys: str) -> list[torch.Tensor]:
        return on_device(batchdata, keys, self.state.device, self.non_blocking, **self.to_kwargs)

    def _run(self, function: Callable[..., torch.Tensor], *inputs: torch.Tensor) -> torch.Tensor:
        """Run a network, or a loss that may hold one, in the training's precision; return fp32 in any case."""
        with self.precision.autocast():
            return function(*inputs).float()

    def _step(self, loss: torch.Tensor, *optimizers: Optimizer) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.precision.backward(loss, self.scaler)
        self.precision.step(self.scaler, *optimizers)

    @staticmethod
    @contextmanager
    def _held_still(*networks: nn.Module) -> Iterator[list[nn.Module]]:
        """Let gradients pass through networks and keep none in them; parameters frozen before stay frozen.

        Gives the networks without DistributedDataParallel: none of their gradients are to be exchanged.
        """
        held = [bare(network) for network in networks]
        trained = [p for network in held for p in network.parameters() if p.requires_grad]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield held
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)
