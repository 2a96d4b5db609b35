"""Build the handlers that every training stage has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine
from monai.handlers import LrScheduleHandler, TensorBoardImageHandler, TensorBoardStatsHandler, ValidationHandler
from torch.optim.lr_scheduler import LRScheduler

from monai_nce.handlers.checkpoint.stage import StageCheckpoint, Stateful
from monai_nce.handlers.checkpoint.training_folder import TrainingFolder
from monai_nce.handlers.cpu_threads import CPUThreads
from monai_nce.handlers.gan_balance import ACCURACY, GANBalance
from monai_nce.handlers.log_scalars import LogScalars
from monai_nce.handlers.mlflow_run import MLflowRun, MLflowStage
from monai_nce.handlers.nan_guard import NaNGuard
from monai_nce.handlers.stage_log import StageLog
from monai_nce.handlers.stage_progress import StageProgress
from monai_nce.handlers.weights.saver import WeightsSaver
from monai_nce.visualize import side_by_side

__all__ = ["stage_handlers", "validation_handlers"]


def stage_handlers(
    name: str,
    title: str,
    training: TrainingFolder,
    log: StageLog,
    savers: Sequence[WeightsSaver],
    lr_schedulers: Sequence[LRScheduler],
    validators: Sequence[Engine] = (),
    keys: Sequence[str] = ("loss",),
    objects: Mapping[str, Stateful] | None = None,
    chance: float = 1 / 3,
    val_interval: int = 1,
    mlflow: MLflowRun | None = None,
) -> list[Any]:
    """Build a stage's checkpoints, progress bar, schedules, validations, savers, curves and guards, in this order.

    A checkpoint holds the networks and best scores of the ``savers``, and the ``lr_schedulers`` with their optimisers.

    Args:
        name: of the stage: in messages, and of its checkpoints' folder in ``training``.
        title: what the stage learns, for the progress bar.
        training: the folder that holds the checkpoints of all stages.
        log: the stage's TensorBoard writer.
        savers: of every network that the stage trains; they write when the stage ends.
        lr_schedulers: one for each optimiser, stepped after every epoch; ``ConstantLR`` with factor 1 keeps a rate.
        validators: evaluators, run in this order after every ``val_interval``-th epoch.
        keys: scalars of the trainer's output to show and to log; ``discriminator_accuracy`` adds :class:`GANBalance`.
        objects: what else has a state that a checkpoint must hold, by name.
        chance: that accuracy where the discriminator guesses.
        val_interval: epochs between two validations.
        mlflow: the training's run, where it is tracked by MLflow.
    """
    states: dict[str, Stateful] = {saver.path.stem: saver.network for saver in savers}
    states |= {saver.best.path.stem: saver.best for saver in savers if saver.best is not None}
    for number, scheduler in enumerate(lr_schedulers):
        states |= {f"optimizer_{number}": scheduler.optimizer, f"lr_scheduler_{number}": scheduler}
    return [
        StageCheckpoint(
            path=(training.path or Path()) / name,
            objects={**states, **(objects or {})},
            resume=training.resume,
            name=name,
            minutes=training.minutes,
            log=log,
            training=training,
            validators=validators,
        ),
        StageProgress(f"{name}: {title}", keys),
        CPUThreads(),
        *(LrScheduleHandler(scheduler, print_lr=False) for scheduler in lr_schedulers),
        *(ValidationHandler(val_interval, validator) for validator in validators),
        *savers,
        LogScalars(log, keys),
        *([MLflowStage(mlflow, name, keys, validators)] if mlflow is not None else []),
        NaNGuard(name),
        *([GANBalance(name, chance=chance)] if ACCURACY in keys else []),
    ]


def validation_handlers(log: StageLog, saver: WeightsSaver) -> list[Any]:
    """Build a stage's evaluator's handlers: scores and images for ``log``, and the best weights of ``saver``."""
    return [
        TensorBoardStatsHandler(summary_writer=log, iteration_log=False),
        TensorBoardImageHandler(
            summary_writer=log,
            batch_transform=lambda batch: ([None], [None]),
            output_transform=lambda output: [side_by_side(output[0])],
        ),
        saver.best,
    ]
