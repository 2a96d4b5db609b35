"""Ignite handlers: a stage's progress, checkpoints and health, weights that are checked first, evaluations."""

from __future__ import annotations

from .checkpoint_folder import CheckpointFolder
from .discriminator_watch import DiscriminatorWatch
from .evaluation_report import EvaluationReport
from .finite_losses import FiniteLosses
from .stage_checkpoint import StageCheckpoint
from .stage_log import StageLog
from .stage_progress import StageProgress
from .trained_for import TrainedFor
from .training_folder import TrainingFolder
from .weights_loader import WeightsLoader, load_weights
from .weights_saver import WeightsSaver

__all__ = [
    "CheckpointFolder",
    "DiscriminatorWatch",
    "EvaluationReport",
    "FiniteLosses",
    "StageCheckpoint",
    "StageLog",
    "StageProgress",
    "TrainedFor",
    "TrainingFolder",
    "WeightsLoader",
    "WeightsSaver",
    "load_weights",
]
