"""Everything that a stage needs to go on, on disk after each epoch, so that a stopped training can be resumed."""

from __future__ import annotations

import random
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import nn

from monai_nce.data import atomic_path
from monai_nce.errors import InputError

__all__ = ["StageCheckpoint"]


class Stateful(Protocol):
    """Anything with a state: networks, optimisers, schedulers, :class:`WeightsSaver`."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class StageCheckpoint:
    """Save a stage after each epoch; with ``resume``, start where the last complete epoch ended.

    The file holds the objects' states, the epoch, the loss scaler's state and the random states of every process, as
    they are once all other handlers of the epoch are done. A resumed training therefore draws the same batches and ends
    with the same weights as one that was never stopped. A finished stage is not trained again: its networks and random
    states are loaded, and the next stage begins as if it had just ended.

    It must be the first of a trainer's handlers: what the others show or save at the start depends on the epoch. Rank 0
    alone writes; every process reads.

    Args:
        path: of the checkpoint; replaced in one step.
        objects: what has a state, by name. A network under DistributedDataParallel is saved without its wrapper.
        resume: start from ``path`` where it exists.
        name: of the stage, for the line that says where it goes on.

    Raises:
        InputError: when a stage is resumed from a file that is damaged, or was made for other networks or other data.
    """

    def __init__(
        self, path: str | PathLike[str], objects: Mapping[str, Stateful], resume: bool = False, name: str = ""
    ) -> None:
        self.path = Path(path)
        self.objects = {key: getattr(value, "module", value) for key, value in objects.items()}
        self.resume = resume
        self.name = name or self.path.stem

    def attach(self, engine: Engine) -> None:
        """Args: engine: the stage's trainer."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        if self.resume and self.path.is_file():
            self._load(engine)
        if not engine.has_event_handler(self._save, Events.EPOCH_COMPLETED):
            # added now, to come after the schedulers and the validation
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def _save(self, engine: Engine) -> None:
        states: list[Any] = [_random_state(engine.state.device)]
        if dist.is_available() and dist.is_initialized():
            states = [None] * dist.get_world_size()
            dist.all_gather_object(states, _random_state(engine.state.device))
        if getattr(engine.state, "rank", 0) != 0:
            return
        scaler = getattr(engine, "scaler", None)
        content = {
            "objects": {key: value.state_dict() for key, value in self.objects.items()},
            "epoch": engine.state.epoch,
            "epoch_length": engine.state.epoch_length,
            "scaler": None if scaler is None else scaler.state_dict(),
            "random": states,
        }
        with atomic_path(self.path) as partial, open(partial, "wb") as file:
            torch.save(content, file)

    def _load(self, engine: Engine) -> None:
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            objects, epoch, length = content["objects"], int(content["epoch"]), content["epoch_length"]
            scaler_state, states = content["scaler"], content["random"]
        except Exception as error:  # of many kinds: a damaged pickle fails wherever the damage leads
            raise InputError(f"{self.path}: not a readable checkpoint of a stage; train without resume") from error
        if set(objects) != set(self.objects):
            raise InputError(
                f"{self.path}: made by another method: expected the states of {', '.join(sorted(self.objects))} "
                f"but got {', '.join(sorted(objects))}"
            )
        if length != engine.state.epoch_length:
            raise InputError(
                f"{self.path}: made with {length} iterations an epoch but here are {engine.state.epoch_length}: "
                "other data, batch size or number of processes"
            )
        rank = getattr(engine.state, "rank", 0)
        for key, value in self.objects.items():
            try:
                value.load_state_dict(objects[key])
            except Exception as error:
                what = "network" if isinstance(value, nn.Module) else "object"
                raise InputError(f"{self.path}: {key} was saved from another {what} than the configured one") from error
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and scaler_state:
            scaler.load_state_dict(scaler_state)
        engine.state.epoch = epoch
        engine.state.iteration = epoch * length
        _set_random_state(states[rank], engine.state.device)
        if rank == 0:
            finished = epoch >= engine.state.max_epochs
            done = "is finished" if finished else f"goes on after epoch {epoch} of {engine.state.max_epochs}"
            print(f"{self.name} {done} ({self.path})", flush=True)


def _random_state(device: torch.device) -> dict[str, Any]:
    """Of all generators that a training draws from, as plain types and tensors, which can be loaded safely."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    kind, keys, *rest = state["numpy"]
    random.setstate(state["python"])
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
