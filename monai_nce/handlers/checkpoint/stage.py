"""Save a training stage so that it can be stopped at any moment and resumed."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from torch import nn
from tqdm.auto import tqdm

from monai_nce import distributed
from monai_nce.data import EpochSampler
from monai_nce.errors import InputError
from monai_nce.handlers.checkpoint.folder import CheckpointFolder
from monai_nce.handlers.checkpoint.random_state import random_state, set_random_state
from monai_nce.handlers.checkpoint.stop_signals import StopSignals
from monai_nce.handlers.checkpoint.stoppable_validation import StoppableValidation
from monai_nce.handlers.checkpoint.training_folder import TrainingFolder
from monai_nce.handlers.fetch_scalars import FetchScalars
from monai_nce.handlers.stage_log import StageLog
from monai_nce.handlers.weights.saver import check_finite
from monai_nce.handlers.weights.trained_for import TrainedFor
from monai_nce.terminal import go_on, tell_result

__all__ = ["StageCheckpoint"]


class Stateful(Protocol):
    """Have a state, as networks and optimisers do."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class StageCheckpoint:
    """Save a stage after each epoch, every few minutes in between and when it is told to stop; resume where it was.

    A resumed training sees the same batches and ends with the same weights as one that was never stopped: a checkpoint
    holds all states, random ones of every process too, once all other handlers are done. A finished stage is loaded
    and not trained again.

    On SIGTERM and SIGINT the iteration at hand, or in a validation the patient, is ended, the stage saved and the
    program ended with ``SystemExit(128 + number)``; a second signal ends at once. A resumed training first does the
    validation that was ended early. With several processes the signal may reach any of them.

    Args:
        path: folder of the checkpoints, see :class:`CheckpointFolder`.
        objects: networks, optimisers and the like by name. DistributedDataParallel's wrapper is not saved.
        resume: start from the newest checkpoint that is whole, where there is one.
        name: name of the stage, for messages.
        minutes: most time between two checkpoints; 0 saves after every iteration.
        keep: number of checkpoints that stay.
        log: the stage's TensorBoard writer.
        training: the same for all stages of a training; checkpoints of another training are not resumed.
        validators: the stage's evaluators, in the order they run in.

    Raises:
        InputError: when the loader has no :class:`monai_nce.data.EpochSampler`, all checkpoints are damaged or for
            something else, one cannot be written, a network holds NaN or Inf, or another process trains there.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        objects: Mapping[str, Stateful],
        resume: bool = False,
        name: str = "",
        minutes: float = 10,
        keep: int = 3,
        log: StageLog | None = None,
        training: TrainingFolder | None = None,
        validators: Sequence[Engine] = (),
    ) -> None:
        self.folder = CheckpointFolder(path, keep)
        self.objects = {key: getattr(value, "module", value) for key, value in objects.items()}
        self.resume = resume
        self.name = name or Path(path).name
        self.seconds = 60 * minutes
        self.log = log
        self.training = TrainingFolder() if training is None else training
        self.signals = StopSignals()
        self.validation = StoppableValidation(validators, self.signals)
        self._saved_at = 0.0

    def attach(self, engine: Engine) -> None:
        FetchScalars.of(engine)
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: self.signals.restore())
        engine.add_event_handler(Events.COMPLETED, self._end)
        self.validation.attach()

    def _start(self, engine: Engine) -> None:
        if not engine.has_event_handler(self._end_epoch, Events.EPOCH_COMPLETED):
            # added only now, to come after all other handlers, such as schedulers and validation
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._end_iteration)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)
            engine.add_event_handler(Events.EXCEPTION_RAISED, _raise)
        loader: Any = engine.state.dataloader
        if not isinstance(getattr(loader, "sampler", None), EpochSampler):
            raise InputError(f"{self.name}: expected a loader with an EpochSampler, so that a stopped epoch can go on")
        # what starts an epoch's iterator draws a number: from its own generator, since a resumed epoch starts another
        loader.generator = torch.Generator().manual_seed(loader.sampler.seed)
        self.training.take()
        missing = self._load(engine) if self.resume and distributed.broadcast(bool(self.folder.files())) else None
        if missing is None:
            self.folder.begin()
            self.training.begin()
            if self.log is not None:
                self.log.go_on(0)
        self._saved_at = time.monotonic()
        self.signals.install()
        if missing:
            self.validation.catch_up(missing, engine.state.epoch)
            self._save(engine)
        if missing is not None:
            self._stop_if_told(engine)

    def _end_iteration(self, engine: Engine) -> None:
        if engine.state.iteration % _epoch_length(engine) == 0:
            return  # the epoch's end saves, after the validation
        stop, due = distributed.all_max(self.signals.received, time.monotonic() - self._saved_at >= self.seconds)
        if stop or due:
            self._save(engine)
            self._stop_if_told(engine)

    def _end_epoch(self, engine: Engine) -> None:
        self._save(engine)
        self._stop_if_told(engine)

    def _end(self, engine: Engine) -> None:
        self._stop_if_told(engine)  # by a signal after the last save; what it saved is a finished stage
        self.signals.restore()

    def _stop_if_told(self, engine: Engine) -> None:
        (number,) = distributed.all_max(self.signals.received)
        if not number:
            return
        self.signals.restore()
        if distributed.is_main_process():
            length = _epoch_length(engine)
            iteration = (engine.state.iteration - 1) % length + 1
            tell_result(
                f"{self.name}: stopped by {signal.Signals(number).name} after iteration {iteration} of {length} in "
                f"epoch {engine.state.epoch}; saved in {self.folder.path}; {go_on('--resume True')}",
                stopped=self.name,
                saved=self.folder.path,
            )
        raise SystemExit(128 + number)

    def _save(self, engine: Engine) -> None:
        state, length = engine.state, _epoch_length(engine)
        for key, value in self.objects.items():
            if isinstance(value, nn.Module):
                distributed.broadcast_buffers(value)
                check_finite(value, f"{self.name}, epoch {state.epoch}, iteration {state.iteration}: {key}")
        FetchScalars.of(engine).fetch(engine)  # so that a guard sees every loss before
        missing = self.validation.missing
        # on every process: an object may gather its state from all of them
        objects = {key: value.state_dict() for key, value in self.objects.items()}
        random = distributed.all_gather(self.validation.random if missing else random_state(state.device))
        scaler, trained_for = getattr(engine, "scaler", None), self.training.trained_for
        content = {
            "objects": objects,
            "epoch": state.iteration // length,
            "iteration": state.iteration,
            "made_with": _circumstances(engine),
            "trained_for": None if trained_for is None else trained_for.plain(),
            "training": self.training.name,
            "scaler": None if scaler is None else scaler.state_dict(),
            "random": random,
            "missing_validations": missing,
        }
        distributed.on_main_process(lambda: self.folder.save(content, content["epoch"], content["iteration"]))
        self._saved_at = time.monotonic()

    def _load(self, engine: Engine) -> Sequence[int] | None:
        """Resume the newest checkpoint and return the validations that it lacks; None if it is another training's."""
        path, content = self._read()
        if not self.training.has(content.get("training", "")):
            if distributed.is_main_process():
                print(f"{self.name} starts anew: {self.folder.path} is an earlier training's", flush=True)
            return None
        objects, made_with, here = content["objects"], content["made_with"], _circumstances(engine)
        if set(objects) != set(self.objects):
            raise InputError(
                f"{path}: made by another method: expected the states of {', '.join(sorted(self.objects))} "
                f"but got {', '.join(sorted(objects))}"
            )
        if made_with != here:
            raise InputError(
                f"{path}: made with {_words(made_with)} but here are {_words(here)}: other patients, batch size or "
                "number of processes"
            )
        trained_for, said = self.training.trained_for, content.get("trained_for") or {}
        _check_start(trained_for, said, path)
        if trained_for is not None and (wrong := trained_for.differences(said)):
            raise InputError(f"{trained_for.words(path, said, wrong)}: train in a new folder")
        for key, value in self.objects.items():
            try:
                value.load_state_dict(objects[key])
            except Exception as error:
                what = "network" if isinstance(value, nn.Module) else "object"
                raise InputError(f"{path}: {key} was saved from another {what} than the configured one") from error
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and content["scaler"]:
            scaler.load_state_dict(content["scaler"])
        self._go_on(engine, content, path)
        return content.get("missing_validations", [])

    def _read(self) -> tuple[Path, Any]:
        """Read the newest whole checkpoint, the same on every process."""
        read: list[Any] = []  # never sent from process to process: it may be gigabytes

        def newest() -> Path:
            found, content, damaged = self.folder.load()
            read.append(content)
            for file in damaged:
                tqdm.write(f"warning: {file}: damaged; {found.name} is taken instead", file=sys.stderr)
            return found

        found = distributed.on_main_process(newest)
        return found, read[0] if read else torch.load(found, map_location="cpu", weights_only=True)

    def _go_on(self, engine: Engine, content: Mapping[str, Any], path: Path) -> None:
        state: Any = engine.state
        state.epoch, state.iteration = int(content["epoch"]), int(content["iteration"])
        done = state.iteration % _epoch_length(engine)
        loader: Any = state.dataloader
        loader.sampler.skip(done * loader.batch_size)
        if self.log is not None:
            self.log.go_on(state.iteration)
        set_random_state(content["random"][distributed.rank()], state.device)
        if distributed.is_main_process():
            where = f"epoch {state.epoch} of {state.max_epochs}"
            if done:
                where = f"iteration {done} of {state.epoch_length} in epoch {state.epoch + 1} of {state.max_epochs}"
            finished = state.epoch >= (state.max_epochs or 0)
            print(f"{self.name} {'is finished' if finished else f'goes on after {where}'} ({path})", flush=True)


def _check_start(trained_for: TrainedFor | None, said: Mapping[str, Any], path: Path) -> None:
    """Refuse to resume a training that started from other weights: later stages would start from these."""
    here, there = None if trained_for is None else trained_for.started_from, said.get("started_from")
    if here != there:
        names = ["no earlier weights" if one is None else f"weights with SHA-256 {one}" for one in (there, here)]
        raise InputError(
            f"{path}: the training started from {names[0]}, this one from {names[1]}: give the same init_weights"
        )


def _circumstances(engine: Engine) -> dict[str, Any]:
    """Describe data, batches and processes: the place in an epoch is one among these."""
    loader: Any = engine.state.dataloader
    return {
        "data": loader.dataset.fingerprint() if hasattr(loader.dataset, "fingerprint") else "",
        "stacks": len(loader.dataset),
        "batch_size": int(loader.batch_size),
        "processes": distributed.world_size(),
        "iterations": _epoch_length(engine),
    }


def _words(made_with: Mapping[str, Any]) -> str:
    data = f" ({made_with['data']})" if made_with.get("data") else ""
    return (
        f"{made_with['stacks']} slice stacks{data} in batches of {made_with['batch_size']} on {made_with['processes']} "
        f"process{'es' if made_with['processes'] > 1 else ''} ({made_with['iterations']} iterations an epoch)"
    )


def _epoch_length(engine: Engine) -> int:
    return int(engine.state.epoch_length or 0)


def _raise(engine: Engine, error: BaseException) -> None:
    raise error  # Ignite swallows an exception that some handler was told of and none has raised
