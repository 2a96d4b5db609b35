"""Log a training's losses and scores to MLflow, all stages to one run, in which a resumed training goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ignite.engine import Engine, Events
from monai.handlers import MLFlowHandler
from monai.utils import optional_import

from monai_nce.distributed import is_main_process
from monai_nce.errors import InputError
from monai_nce.handlers.checkpoint.training_folder import TrainingFolder
from monai_nce.handlers.fetch_scalars import FetchScalars, ScalarEvents

__all__ = ["MLflowRun", "MLflowStage"]

EXPERIMENT = "monai-nce"


class MLflowRun:
    """Hold the run of a training, by MONAI's ``MLFlowHandler``, which finds one that was stopped by its name.

    Begun by the first stage that starts, on rank 0 alone.

    Args:
        tracking_uri: of a server or a database, such as ``sqlite:///runs/mlflow.db``; the environment variable
            ``MLFLOW_TRACKING_URI`` goes before it.
        training: the folder of the checkpoints, which knows the training's name.
        params: what is noted once, when the run begins.

    Raises:
        InputError: if MLflow is not installed, or the address is none that it takes.
    """

    def __init__(self, tracking_uri: str, training: TrainingFolder, params: Mapping[str, Any]) -> None:
        if not all(optional_import(name)[1] for name in ("mlflow", "sqlalchemy", "alembic")):
            raise InputError('mlflow: not installed; pip install "monai-nce[mlflow]", or leave --mlflow out')
        if "://" not in tracking_uri or tracking_uri.startswith("file:"):
            raise InputError(
                f"tracking_uri: expected a server or a database, as sqlite:///FILE, but got {tracking_uri}"
            )
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow's makers are not told what is tracked
        self.tracking_uri = tracking_uri
        self.training = training
        self.params = params
        self.handler: MLFlowHandler | None = None

    def start(self, engine: Engine) -> None:
        """Begin the run, or go on in the one of the training that is resumed."""
        if self.handler is None:
            where = self.training.path.resolve().parent.name if self.training.path else ""
            name = f"{where} {self.training.name or ''}".strip()
            self.handler = MLFlowHandler(self.tracking_uri, experiment_name=EXPERIMENT, run_name=name)
        self.handler.start(engine)
        run_id = self.handler.cur_run.info.run_id
        known = self.handler.client.get_run(run_id).data.params
        for key, value in self.params.items():
            if key not in known:  # that of a run can't be changed
                self.handler.client.log_param(run_id, key, value)

    def log(self, scalars: Mapping[str, float], step: int) -> None:
        """Log scalars by name."""
        if self.handler is not None:
            for key, value in scalars.items():
                self.handler.client.log_metric(self.handler.cur_run.info.run_id, key, value, step=step)

    def close(self) -> None:
        """Mark the run as finished."""
        if self.handler is not None:
            self.handler.close()
            self.handler = None


class MLflowStage:
    """Log a stage's losses, as means over an epoch, and its evaluators' scores after each epoch.

    The curves are called after stage and scalar, such as ``stage1/loss`` and ``stage1/val_mse``.

    Args:
        run: of the training.
        name: of the stage.
        keys: scalars of the trainer's output.
        validators: the stage's evaluators, attached before this.
    """

    def __init__(self, run: MLflowRun, name: str, keys: Sequence[str], validators: Sequence[Engine] = ()) -> None:
        self.run = run
        self.name = name
        self.keys = tuple(keys)
        self.validators = validators
        self._sums: dict[str, float] = {}
        self._count = 0

    def attach(self, engine: Engine) -> None:
        FetchScalars.of(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(ScalarEvents.FETCHED, self._add)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._log)

    def _start(self, engine: Engine) -> None:
        """Begin an epoch; not when the stage starts, since only after that its checkpoint is read."""
        self._sums, self._count = {}, 0
        if is_main_process() and self.run.handler is None:
            self.run.start(engine)

    def _add(self, engine: Engine) -> None:
        scalars = FetchScalars.of(engine)
        for key in set(self.keys) & set(scalars.means):
            self._sums[key] = self._sums.get(key, 0.0) + scalars.means[key] * scalars.count
        self._count += scalars.count

    def _log(self, engine: Engine) -> None:
        epoch = engine.state.epoch
        means = {f"{self.name}/{key}": total / self._count for key, total in self._sums.items()}
        scores = {
            f"{self.name}/{key}": float(value)
            for validator in self.validators
            if validator.state.iteration  # it ran
            for key, value in validator.state.metrics.items()
        }
        self.run.log({**means, **scores}, epoch)
