"""Compute what the tables show: per-slice image metrics and patient-bootstrap intervals."""

from .additional import ADDITIONAL_METRICS
from .image_metrics import METRICS, ImageMetrics, ms_ssim_setting
from .metric import Metric
from .summary import summarize

__all__ = ["ADDITIONAL_METRICS", "METRICS", "ImageMetrics", "Metric", "ms_ssim_setting", "summarize"]
