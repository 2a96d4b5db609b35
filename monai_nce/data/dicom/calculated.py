"""Tell images that were calculated from CT scans from those as acquired, by their headers.

Some are in another unit or show a difference, so that their values are no HU: perfusion and material maps,
subtractions, renderings. Others are in HU but no CT as acquired: projections, virtual non-contrast and virtual
monoenergetic images.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["calculation", "why_no_hounsfield"]

# Words of ImageType from its third value on: defined terms of DICOM (PS3.3 C.8.15.2, C.8.16.1.4) and vendors' own.
NO_HU = (
    r"R?CBF|R?CBV|MTT|TTP|TTD|TTS|TMAX|PBV|HPI|BF|BV|PS|PERMEABILITY|FLOW|PERFUSION|PERF|T TEST|Z SCORE|STD DEVIATION"
    r"|SUBTRACTION|SUBTRACTED|SUBTRACT|DIFFERENCE|DIVISION|MULTIPLICATION|QUANTITY|MAT SPECIFIC|MAT FRACTIONAL"
    r"|MAT VALUE BASED|EFF ATOMIC NUM|EFFECTIVE Z|Z EFF|ZEFF|RHO Z|ELECTRON DENSITY|IODINE\w*(?: MAP)?|MD \w+"
    r"|OVERLAY|FUSED|FUSION|VRT|SSD|VOLUME RENDERING|VOLUMERENDERED|RENDERED|SEGMENTATION|PARAMETRIC\w*|COLOR|COLOUR"
)
CALCULATED = (
    r"MIP|MINIP|MAX IP|MIN IP|MAXIMUM|MINIMUM|PROJECTION IMAGE|CPR|CURVED|VNC|TNC|VUE|VIRTUAL\w*|VMI|MONO\w*"
    r"|MAT REMOVED|MAT MODIFIED"
)
# Of a derived image's description these are enough: no series of CT as acquired is called so.
MAPS = r"R?CBF|R?CBV|MTT|TTP|TTD|TMAX|PBV|(?:PERFUSION|IODINE|IODE?|JOD|COLOU?R|FLOW|VOLUME) MAPS?|ZEFF|Z EFF|RHO Z"
HU_UNITS = ("[hnsf'u]", "hu", "hounsfield unit", "hounsfield units")


def why_no_hounsfield(header: Dataset) -> str:
    """Say what shows that an image's values are no HU; empty where nothing does."""
    if header.get("RedPaletteColorLookupTableDescriptor"):
        return "it has a colour palette, as maps that were calculated from scans have"
    if header.get("PixelPresentation") in ("COLOR", "TRUE_COLOR", "COLOR_RANGE", "MIXED"):
        return f"its PixelPresentation is {header.PixelPresentation}: a map that was calculated from scans"
    units = [unit for item in header.get("RealWorldValueMappingSequence") or () if (unit := _unit(item))]
    if units and not any(unit.casefold() in HU_UNITS for unit in units):
        return "its RealWorldValueMappingSequence names another unit"
    words = _words(header.get("ImageType"), start=2)
    found = re.search(rf"\b(?:{NO_HU})\b", words) if _derived(header) else re.search(rf"\b(?:{MAPS})\b", words)
    if found:
        return f"its ImageType says {found[0]}: calculated from scans"
    if _derived(header) and (found := re.search(rf"\b(?:{MAPS})\b", _words(header.get("SeriesDescription")))):
        return f"it is derived, and its SeriesDescription says {found[0]}: calculated from scans"
    return ""


def calculation(header: Dataset) -> str:
    """Name what an image was calculated as by its header; empty for a CT as acquired, or resampled from one."""
    if reason := why_no_hounsfield(header):
        return reason
    if found := re.search(rf"\b(?:{CALCULATED})\b", _words(header.get("ImageType"), start=2)):
        return f"its ImageType says {found[0]}: calculated from scans"
    if _derived(header) and header.get("RescaleType") == "US":
        return "it is derived, and its RescaleType is US (unspecified): perhaps a map"
    return ""


def _derived(header: Dataset) -> bool:
    return _words(header.get("ImageType")).startswith("DERIVED")


def _words(value: Any, start: int = 0) -> str:
    """Return the words of an element's values, from the ``start``-th value on, in upper case."""
    values = [value] if value is None or isinstance(value, str) else list(value)
    return " ".join(re.sub(r"[^A-Z0-9]+", " ", " ".join(str(one or "").upper() for one in values[start:])).split())


def _unit(item: Dataset) -> str:
    codes = item.get("MeasurementUnitsCodeSequence") or ()
    return str(codes[0].get("CodeValue") or codes[0].get("CodeMeaning") or "") if codes else ""
