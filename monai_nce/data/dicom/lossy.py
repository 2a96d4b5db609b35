"""Tell whether a DICOM image was compressed with loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["lossy_compression"]

LOSSY_SYNTAXES = ("JPEGBaseline8Bit", "JPEGExtended12Bit", "JPEGLSNearLossless")
EITHER_SYNTAXES = ("JPEG2000", "HTJ2K")


def lossy_compression(header: Dataset) -> str:
    """Say whether an image was compressed with loss, given its header with ``file_meta``.

    Returns:
        ``"yes"``; ``"perhaps"`` for a transfer syntax that allows both, in an image that does not say; or nothing.
    """
    from pydicom import uid

    syntax = header.file_meta.get("TransferSyntaxUID")
    if header.get("LossyImageCompression") == "01" or syntax in [getattr(uid, name) for name in LOSSY_SYNTAXES]:
        return "yes"
    says = header.get("LossyImageCompression") == "00"
    return "perhaps" if not says and syntax in [getattr(uid, name) for name in EITHER_SYNTAXES] else ""
