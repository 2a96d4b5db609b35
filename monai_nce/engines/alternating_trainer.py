"""What trainers of several networks share: mixed precision, steps of several optimisers, networks held still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from monai.engines import Trainer
from torch import nn
from torch.optim import Optimizer

__all__ = ["AlternatingTrainer"]


class AlternatingTrainer(Trainer):
    """Base of trainers that update generators and discriminators in turn.

    Args:
        device: where to train.
        max_epochs: epochs to train.
        train_data_loader: gives dictionaries of images.
        kwargs: the rest, as in :class:`monai.engines.Trainer`, such as ``amp``; its ``handlers`` is called
            ``train_handlers`` as in MONAI's other trainers.
    """

    def __init__(
        self, device: str | torch.device, max_epochs: int, train_data_loader: Iterable, **kwargs: Any
    ) -> None:
        kwargs["handlers"] = kwargs.pop("train_handlers", None)
        super().__init__(device=device, max_epochs=max_epochs, data_loader=train_data_loader, **kwargs)

    def _images(self, batchdata: Mapping[str, torch.Tensor], *keys: str) -> list[torch.Tensor]:
        return [
            batchdata[key].to(device=self.state.device, non_blocking=self.non_blocking, **self.to_kwargs)
            for key in keys
        ]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs)

    def _step(self, loss: torch.Tensor, *optimizers: Optimizer) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        if self.scaler is None:
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            for optimizer in optimizers:
                self.scaler.step(optimizer)
            self.scaler.update()

    @staticmethod
    @contextmanager
    def _held_still(*networks: nn.Module) -> Iterator[list[nn.Module]]:
        """Networks through which gradients pass and in which none are kept.

        Under DistributedDataParallel the bare modules: none of their gradients are to be shared.
        """
        bare = [getattr(network, "module", network) for network in networks]
        for network in bare:
            network.requires_grad_(False)
        try:
            yield bare
        finally:
            for network in bare:
                network.requires_grad_(True)
