"""Pictures in the radiological orientation and the paper's window."""

from .comparison_figure import ComparisonRow, draw_comparison
from .panels import radiological
from .preview import PreviewRow, axial_slices, draw_preview
from .registration_figure import RegistrationRow, draw_registration
from .save_preview import DrawImagePreviewd, SaveImagePreviewd
from .side_by_side import side_by_side
from .synthetic_source_figure import SyntheticSourceRow, draw_synthetic_source

__all__ = [
    "DrawImagePreviewd",
    "ComparisonRow",
    "PreviewRow",
    "RegistrationRow",
    "SaveImagePreviewd",
    "SyntheticSourceRow",
    "axial_slices",
    "draw_comparison",
    "draw_preview",
    "draw_registration",
    "draw_synthetic_source",
    "radiological",
    "side_by_side",
]
