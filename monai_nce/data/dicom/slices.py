"""Check DICOM headers and take slices out of them, single-frame and enhanced multi-frame.

Frames go through the same checks as files. highdicom's ``get_volume`` reads them too, but drops a tilt of 1° as it does
for series, so it serves as the reference in the tests instead.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from monai_nce.data.dicom.calculated import why_no_hounsfield
from monai_nce.data.dicom.geometry import DicomSlice
from monai_nce.data.dicom.text import clean_text, patient_words
from monai_nce.data.scans.synthetic import refuse_synthetic
from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["check_one_patient", "slices_of"]

MAX_SLICE = 2**26  # pixels: 8192 × 8192
SPELT = 0.8  # difflib's ratio of "hounsfield" and what is one slip or two away
# Where a frame's elements stand in the functional groups.
GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
}
REQUIRED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")


def slices_of(path: Path, header: Dataset) -> list[DicomSlice]:
    """Check a file's header and take its slices out of it: one, or those of an enhanced multi-frame CT in order.

    Raises:
        InputError: if the image is none of CT, is synthetic or a map calculated from scans, or does not say where its
            voxels lie and how they become HU.
    """
    _check_image(path, header)
    frames = int(header.get("NumberOfFrames") or 1)
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        if frames != 1:
            raise InputError(f"{path}: a multi-frame image without functional groups, so without positions")
        return [_slice(path, header, header, None)]
    if len(groups) != frames:
        raise InputError(f"{path}: expected functional groups for {frames} frames but got {len(groups)}")
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    return [_slice(path, header, _Frame(own, shared), index) for index, own in enumerate(groups)]


def check_one_patient(folder: Path, headers: Sequence[tuple[Path, Dataset]]) -> None:
    """Refuse a series that holds several patients or studies.

    Raises:
        InputError: naming two files and the element in which they differ, without its values.
    """
    first_path, first = headers[0]
    for path, header in headers[1:]:
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID"):
            if _plain(header.get(keyword)) != _plain(first.get(keyword)):
                what = "studies" if keyword == "StudyInstanceUID" else "patients"
                raise InputError(
                    f"{folder}: several {what} in one series: {first_path.name} and {path.name} differ in {keyword}"
                )


class _Frame:
    """Look elements of a frame up in the functional groups of an enhanced multi-frame image."""

    def __init__(self, own: Dataset, shared: Dataset | None) -> None:
        self.places = [place for place in (own, shared) if place is not None]

    def get(self, keyword: str) -> Any:
        """Return the element's value; None if it is not there."""
        for place in self.places:
            for item in place.get(GROUPS[keyword]) or ():
                if item.get(keyword) is not None:
                    return item.get(keyword)
        return None


def _check_image(path: Path, header: Dataset) -> None:
    if header.get("Modality") != "CT":
        raise InputError(f"{path}: expected Modality CT but got {_word(header.get('Modality'))}")
    if header.get("SyntheticData") == "YES":
        refuse_synthetic(path, "SyntheticData is YES")
    if header.get("ModalityLUTSequence"):
        raise InputError(f"{path}: its values become HU by a table (ModalityLUTSequence), which is not supported")
    if int(header.get("SamplesPerPixel") or 1) != 1 or header.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{path}: expected grey values but got a colour image")
    if reason := why_no_hounsfield(header):
        raise InputError(f"{path}: expected a CT in HU but {reason}")
    for keyword in ("Rows", "Columns"):
        if not header.get(keyword):
            raise InputError(f"{path}: has no {keyword}")
    if int(header.Rows) * int(header.Columns) > MAX_SLICE:
        raise InputError(f"{path}: {header.Columns} × {header.Rows} pixels are more than this program takes")
    stored = header.get("BitsStored")
    if stored and header.get("HighBit") not in (None, stored - 1):
        raise InputError(f"{path}: expected HighBit {stored - 1} but got {header.HighBit}")


def _slice(path: Path, header: Dataset, place: Any, frame: int | None) -> DicomSlice:
    """Make one slice; ``place`` has its own elements: the header or the frame's functional groups."""
    for keyword in REQUIRED:
        if place.get(keyword) in (None, ""):
            raise InputError(f"{path}: has no {keyword}")
    unit = str(place.get("RescaleType") or "").strip().upper()
    if unit not in ("", "US") and not _is_hounsfield(unit):
        shown = clean_text(place.get("RescaleType"), patient_words(header))
        raise InputError(f"{path}: expected values in HU but RescaleType is {shown}")
    try:
        position = np.array(place.get("ImagePositionPatient"), dtype=float).reshape(3)
        axes = np.array(place.get("ImageOrientationPatient"), dtype=float).reshape(2, 3)
        spacing = np.array(place.get("PixelSpacing"), dtype=float).reshape(2)
        slope, intercept = float(place.get("RescaleSlope")), float(place.get("RescaleIntercept"))
        thickness = float(place.get("SliceThickness") or 0)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its position, orientation, pixel spacing or rescaling is malformed") from error
    if not np.isfinite(position).all() or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InputError(f"{path}: expected a finite position and a positive PixelSpacing")
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise InputError(f"{path}: its ImageOrientationPatient is not a pair of perpendicular unit vectors")
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise InputError(f"{path}: expected a finite RescaleSlope other than 0 and a finite RescaleIntercept")
    if not math.isfinite(thickness):
        thickness = 0.0
    return DicomSlice(path, header, position, axes, spacing, thickness, slope, intercept, unit == "US", frame)


def _is_hounsfield(unit: str) -> bool:
    """Tell whether a RescaleType spells Hounsfield units in one of the ways that vendors found, slips included.

    Units derived from them, such as HU_MOD (modified), are others.
    """
    letters = re.sub(r"[\s.'\[\]()]", "", unit.casefold())
    if letters in ("hu", "hnsfu"):  # the latter is UCUM's [hnsf'U]
        return True
    name = re.sub(r"(u[a-z]{2,4})?(hu)?$", "", letters)  # "unit" or what became of it
    return bool(difflib.get_close_matches(name, ["hounsfield"], cutoff=SPELT))


def _plain(value: Any) -> str:
    """Drop what writers differ in: case, empty components of a name, spaces."""
    return " ".join(str(value or "").replace("^", " ").casefold().split())


def _word(value: Any) -> str:
    """Show a code string in a message; anything else could be a patient's data."""
    text = str(value)
    return text if len(text) <= 6 and text.replace("_", "").isalnum() and text.isascii() else "something else"
