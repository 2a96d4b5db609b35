"""Draw slices in the radiological orientation and the paper's window."""

from .comparison_figure import draw_comparison
from .panels import Display, FigureRow, radiological
from .preview import axial_slices, draw_preview
from .registration_figure import draw_registration
from .save_preview import DrawImagePreviewd, SaveImagePreviewd
from .side_by_side import side_by_side
from .synthetic_source_figure import draw_synthetic_source

__all__ = [
    "Display",
    "DrawImagePreviewd",
    "FigureRow",
    "SaveImagePreviewd",
    "axial_slices",
    "draw_comparison",
    "draw_preview",
    "draw_registration",
    "draw_synthetic_source",
    "radiological",
    "side_by_side",
]
