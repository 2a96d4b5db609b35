"""Draw slices in the radiological orientation and the paper's window, and make pages to scroll through."""

from .comparison_figure import draw_comparison
from .contrast_change import draw_registration, draw_synthetic_source
from .page import Case, Report, ReportTable, SaveReportd, write_report
from .panels import Display, FigureRow, radiological
from .preview import DrawImagePreviewd, SaveImagePreviewd, axial_slices, draw_preview, side_by_side
from .registered_source import draw_registered_source

__all__ = [
    "Case",
    "Display",
    "DrawImagePreviewd",
    "FigureRow",
    "Report",
    "ReportTable",
    "SaveImagePreviewd",
    "SaveReportd",
    "axial_slices",
    "draw_comparison",
    "draw_preview",
    "draw_registered_source",
    "draw_registration",
    "draw_synthetic_source",
    "radiological",
    "side_by_side",
    "write_report",
]
