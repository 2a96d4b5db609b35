"""Pictures in the radiological orientation and the paper's window."""

from .preview import PreviewRow, draw_preview, radiological

__all__ = ["PreviewRow", "draw_preview", "radiological"]
