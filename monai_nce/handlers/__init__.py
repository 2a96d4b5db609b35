"""Ignite handlers: a stage's progress, weights that are checked before they are used, the evaluation's report."""

from .evaluation_report import EvaluationReport
from .stage_progress import StageProgress
from .weights_loader import WeightsLoader, load_weights
from .weights_saver import WeightsSaver

__all__ = ["EvaluationReport", "StageProgress", "WeightsLoader", "WeightsSaver", "load_weights"]
