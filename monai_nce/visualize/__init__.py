"""Pictures in the radiological orientation and the paper's window."""

from .preview import PreviewRow, axial_slices, draw_preview, radiological
from .save_preview import SaveImagePreviewd
from .side_by_side import side_by_side

__all__ = ["PreviewRow", "SaveImagePreviewd", "axial_slices", "draw_preview", "radiological", "side_by_side"]
