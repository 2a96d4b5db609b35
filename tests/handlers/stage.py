"""A small training that can be stopped and gone on with."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from monai.handlers import ValidationHandler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from monai_nce.data import EpochSampler
from monai_nce.handlers import StageCheckpoint


class Killed(BaseException):
    """Stands in for SIGKILL: nothing else happens."""


class Stage:
    """Four iterations an epoch that draw from every generator, a scheduler, and two validations that draw too."""

    def __init__(
        self, path: Path, max_epochs: int, resume: bool = False, kill_after: int | None = None, batch_size: int = 2,
        workers: int = 0, first: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        self.network = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        self.max_epochs = max_epochs
        self.seen: list[int] = []
        self.validated: list[tuple[int, int]] = []  # epoch, and which of the two came to its end
        self.validators = [self.validator(number) for number in range(2)]
        self.trainer = Engine(self.step)
        if first is not None:
            first.attach(self.trainer)
        state: Any = self.trainer.state
        state.device = torch.device("cpu")
        objects = {"network": self.network, "optimizer": self.optimizer, "scheduler": self.scheduler}
        self.checkpoint = StageCheckpoint(path, objects, resume, name="stage", validators=self.validators, **options)
        self.checkpoint.attach(self.trainer)
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: self.scheduler.step())
        for validator in self.validators:
            ValidationHandler(1, validator).attach(self.trainer)
        data = TensorDataset(torch.arange(8.0).reshape(8, 1).expand(8, 2) / 8, torch.arange(8))
        self.sampler = EpochSampler(data, seed=5)
        self.trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: self.sampler.set_epoch(engine.state.epoch))
        if kill_after is not None:
            self.trainer.add_event_handler(Events.ITERATION_STARTED(once=kill_after + 1), self.kill)
        self.loader = DataLoader(
            data, batch_size, sampler=self.sampler, drop_last=True, num_workers=workers,
            persistent_workers=workers > 0,
        )  # fmt: skip

    @staticmethod
    def kill(engine: Engine) -> None:
        raise Killed

    def validator(self, number: int) -> Evaluator:
        """Of three patients."""
        loader = DataLoader(TensorDataset(torch.zeros(3)))
        validator = Evaluator(
            torch.device("cpu"), loader, iteration_update=lambda engine, batch: torch.rand(1), decollate=False
        )
        validator.add_event_handler(
            Events.COMPLETED, lambda engine: self.validated.append((engine.state.epoch, number))
        )
        return validator

    def step(self, engine: Engine, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.seen += batch[1].tolist()
        noise = float(np.random.rand()) + random.random()
        loss = (self.network(batch[0]) - noise).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}

    def run(self) -> Stage:
        self.trainer.run(self.loader, max_epochs=self.max_epochs)
        return self

    def run_until_killed(self) -> list[int]:
        """The items that were seen."""
        with pytest.raises(Killed):
            self.run()
        if self.loader.num_workers:  # or they live on until the garbage is collected, and are forked along till then
            self.loader._iterator._shutdown_workers()  # type: ignore[union-attr]
        return self.seen

    def ends_like(self, other: Stage) -> bool:
        """Whether weights, learning rate and what the schedulers know are the same, bit for bit."""
        ours, theirs = self.network.state_dict(), other.network.state_dict()
        return (
            all(torch.equal(ours[name], theirs[name]) for name in ours)
            and self.scheduler.state_dict() == other.scheduler.state_dict()
            and self.optimizer.param_groups[0]["lr"] == other.optimizer.param_groups[0]["lr"]
        )
