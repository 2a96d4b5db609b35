"""Choose the one decoder for each transfer syntax.

pydicom would try one installed plugin after the other, and what the next one makes of a stream that the first one found
damaged is not to be trusted.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from monai_nce.data.dicom.files import INSTALL
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom.uid import UID

__all__ = ["decoder_of", "installed_decoders"]

# All from packages under MIT, BSD or Apache licences; pylibjpeg-libjpeg, which many name for JPEG, is GPL.
PLUGINS = {
    "1.2.840.10008.1.2.5": "pydicom",  # RLE
    "1.2.840.10008.1.2.4.50": "gdcm",  # JPEG baseline
    "1.2.840.10008.1.2.4.51": "gdcm",  # JPEG extended
    "1.2.840.10008.1.2.4.57": "gdcm",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "gdcm",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "pyjpegls",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "pyjpegls",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90": "pylibjpeg",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91": "pylibjpeg",  # JPEG 2000
    "1.2.840.10008.1.2.4.201": "pylibjpeg",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg",
}


def decoder_of(path: Path, syntax: UID) -> str:
    """Name the pydicom plugin that decodes a file of this transfer syntax; empty where it is not compressed.

    Raises:
        InputError: if the transfer syntax is not supported, or its decoder is not installed.
    """
    from pydicom.pixels import get_decoder

    if syntax.is_transfer_syntax and not syntax.is_compressed:
        return ""
    plugin = PLUGINS.get(str(syntax))
    if plugin is None:
        raise InputError(f"{path}: the transfer syntax {syntax.name} is not supported")
    if plugin not in get_decoder(syntax).available_plugins:
        raise InputError(f"{path}: no decoder for {syntax.name} is installed: {INSTALL}")
    return plugin


def installed_decoders() -> dict[str, bool]:
    """Name the compressed transfer syntaxes that are supported, and tell whether the decoder of each is installed."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    return {
        UID(syntax).name: plugin in get_decoder(UID(syntax)).available_plugins for syntax, plugin in PLUGINS.items()
    }
