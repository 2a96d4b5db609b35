"""Ignite handlers: a stage's progress, checkpoints and health, weights that are checked first, evaluations."""

from __future__ import annotations

from monai_nce.handlers.checkpoint.folder import CheckpointFolder
from monai_nce.handlers.checkpoint.stage import StageCheckpoint
from monai_nce.handlers.checkpoint.training_folder import TrainingFolder, refuse_trained
from monai_nce.handlers.cpu_threads import CPUThreads
from monai_nce.handlers.earlier_stages import EarlierStages
from monai_nce.handlers.evaluation_report import EvaluationReport
from monai_nce.handlers.fetch_scalars import FetchScalars
from monai_nce.handlers.gan_balance import GANBalance
from monai_nce.handlers.inference_manifest import InferenceManifest
from monai_nce.handlers.log_scalars import LogScalars
from monai_nce.handlers.mlflow_run import MLflowRun
from monai_nce.handlers.nan_guard import NaNGuard
from monai_nce.handlers.stage_handlers import stage_handlers, validation_handlers
from monai_nce.handlers.stage_log import StageLog
from monai_nce.handlers.stage_progress import StageProgress
from monai_nce.handlers.weights.loader import WeightsLoader, load_weights
from monai_nce.handlers.weights.saver import WeightsSaver
from monai_nce.handlers.weights.starting_weights import StartingWeights
from monai_nce.handlers.weights.trained_for import TrainedFor

__all__ = [
    "CPUThreads",
    "CheckpointFolder",
    "EarlierStages",
    "EvaluationReport",
    "FetchScalars",
    "GANBalance",
    "InferenceManifest",
    "MLflowRun",
    "NaNGuard",
    "LogScalars",
    "StageCheckpoint",
    "StageLog",
    "StageProgress",
    "StartingWeights",
    "TrainedFor",
    "TrainingFolder",
    "WeightsLoader",
    "WeightsSaver",
    "load_weights",
    "refuse_trained",
    "stage_handlers",
    "validation_handlers",
]
