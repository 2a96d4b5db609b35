"""Tell whether a DICOM image was compressed with loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["lossy_compression", "may_be_lossy"]

LOSSY_SYNTAXES = ("JPEGBaseline8Bit", "JPEGExtended12Bit", "JPEGLSNearLossless")
EITHER_SYNTAXES = ("JPEG2000", "HTJ2K")


def lossy_compression(header: Dataset) -> str:
    """Say whether an image was compressed with loss, given its header with ``file_meta``.

    Returns:
        ``"yes"``; ``"perhaps"`` for a transfer syntax that allows both, in an image that does not say; or nothing.
    """
    syntax = header.file_meta.get("TransferSyntaxUID")
    if header.get("LossyImageCompression") == "01" or _is_one_of(LOSSY_SYNTAXES, syntax):
        return "yes"
    says = header.get("LossyImageCompression") == "00"
    return "perhaps" if not says and _is_one_of(EITHER_SYNTAXES, syntax) else ""


def may_be_lossy(syntax: str) -> bool:
    """Return whether a transfer syntax allows for loss."""
    return _is_one_of((*LOSSY_SYNTAXES, *EITHER_SYNTAXES), syntax)


def _is_one_of(names: Sequence[str], syntax: str | None) -> bool:
    from pydicom import uid

    return syntax in [getattr(uid, name) for name in names]
