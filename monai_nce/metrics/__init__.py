"""What the tables show: per-slice image metrics and patient-bootstrap intervals."""

from .image_metrics import METRICS, ImageMetrics, ms_ssim_setting
from .summary import summarize

__all__ = ["METRICS", "ImageMetrics", "ms_ssim_setting", "summarize"]
