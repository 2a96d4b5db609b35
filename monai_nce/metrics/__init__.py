"""Compute what the tables show: per-slice image metrics and patient-bootstrap intervals."""

from .image_metrics import METRICS, ImageMetrics, Metric, ms_ssim_setting
from .summary import summarize

__all__ = ["METRICS", "ImageMetrics", "Metric", "ms_ssim_setting", "summarize"]
