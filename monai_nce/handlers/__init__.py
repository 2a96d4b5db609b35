"""Ignite handlers: a stage's progress and checkpoint, weights that are checked first, the evaluation's report."""

from .evaluation_report import EvaluationReport
from .stage_checkpoint import StageCheckpoint
from .stage_progress import StageProgress
from .weights_loader import WeightsLoader, load_weights
from .weights_saver import WeightsSaver

__all__ = ["EvaluationReport", "StageCheckpoint", "StageProgress", "WeightsLoader", "WeightsSaver", "load_weights"]
