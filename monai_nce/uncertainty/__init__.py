"""Say where a synthetic image may be wrong: signals of it, and half-widths in HU that are calibrated on patients."""

from .calibration import CALIBRATION, Calibration, calibration_beside
from .conformal import conformal_quantile, coverage_factor, fewest_patients
from .half_width import HalfWidth, fit_half_width
from .inferer import HalfWidthInferer
from .save_half_width import SaveHalfWidthd
from .signals import SIGNALS, Signals
from .split_half_width import SplitHalfWidthd

__all__ = [
    "CALIBRATION",
    "Calibration",
    "HalfWidth",
    "HalfWidthInferer",
    "SIGNALS",
    "SaveHalfWidthd",
    "Signals",
    "SplitHalfWidthd",
    "calibration_beside",
    "conformal_quantile",
    "coverage_factor",
    "fewest_patients",
    "fit_half_width",
]
