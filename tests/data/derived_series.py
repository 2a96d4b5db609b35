"""A series as a scanner writes it, one derived from it, and what of the former may be in the latter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import Dataset

from monai_nce.data.dicom.header import Derivation
from monai_nce.data.dicom.reader import check_dicom
from monai_nce.data.dicom.writer import write_derived_series

DERIVATION = Derivation("0123456789abcdef" * 4, "carry", 50, 300)
SENTINEL = "SENTINEL"
COPIED = {
    **{"PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "19500102", "PatientSex": "F"},
    **{"IssuerOfPatientID": "a clinic", "PatientAge": "070Y", "PatientWeight": "61.50", "PatientSize": "1.70"},
    **{"StudyID": "17", "StudyDate": "20200304", "StudyTime": "050607.25", "AccessionNumber": "A1"},
    **{"StudyDescription": "Abdomen", "ReferringPhysicianName": "Roe^R", "BodyPartExamined": "ABDOMEN", "KVP": "120.0"},
    **{"AcquisitionNumber": "2", "AcquisitionDate": "20200304", "AcquisitionTime": "050708"},
    **{"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand", "LossyImageCompression": "01"},
    **{"LossyImageCompressionRatio": "8.5", "LossyImageCompressionMethod": "ISO_15444_1", "SpecificCharacterSet": ""},
    **{"LongitudinalTemporalInformationModified": "MODIFIED", "PositionReferenceIndicator": "XY"},
}
# Values of a source that must not be found anywhere in a derived file.
NOT_COPIED = {
    **dict.fromkeys(("ContrastBolusAgent", "ContrastBolusRoute", "InstitutionName", "StationName"), SENTINEL),
    **dict.fromkeys(("OperatorsName", "PerformingPhysicianName", "ProtocolName", "DeviceSerialNumber"), SENTINEL),
    **dict.fromkeys(("PatientAddress", "PatientTelephoneNumbers", "PatientComments", "Allergies"), SENTINEL),
    **dict.fromkeys(("AdditionalPatientHistory", "RequestedProcedureDescription", "ImageComments"), SENTINEL),
    **dict.fromkeys(("SeriesDescription", "PerformedProcedureStepDescription", "ScanOptions"), SENTINEL),
    **dict.fromkeys(("ContrastBolusVolume", "ContrastBolusTotalDose", "ExposureTime", "Exposure"), 77),
    **dict.fromkeys(("PixelPaddingValue", "SmallestImagePixelValue", "LargestImagePixelValue", "CTDIvol"), 77),
}


def code_item(**values: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "a meaning"
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def complete(index: int, dataset: Dataset) -> None:
    """Give a slice of ``write_series`` what a scanner writes; the DS values with digits that a float would lose."""
    for keyword, value in {**COPIED, **NOT_COPIED}.items():
        setattr(dataset, keyword, value)
    dataset.Manufacturer, dataset.ManufacturerModelName = "A company", "Scanner 3"
    dataset.FrameOfReferenceUID, dataset.PatientPosition = "1.2.3.4", "HFS"
    dataset.ImagePositionPatient = ["-10.000", "-20.0", f"{30 + 2.5 * index:.3f}"]
    dataset.ImageOrientationPatient = ["1.000000", "0", "0.0", "-0.0", "1", "0"]
    dataset.SliceThickness, dataset.SliceLocation, dataset.GantryDetectorTilt = "5.00", f"{2.5 * index}", "0.0"
    dataset.ProcedureCodeSequence = [code_item()]
    dataset.ProcedureCodeSequence[0].private_block(0x0009, "a firm", create=True).add_new(1, "LO", SENTINEL)
    dataset.private_block(0x0019, "a firm", create=True).add_new(1, "LO", SENTINEL)
    dataset.RequestAttributesSequence = [code_item(CodeMeaning=SENTINEL)]


def derive(folder: Path, volume: np.ndarray, out: Path, **changes: Any) -> list[Dataset]:
    """Write a series derived from the one in ``folder``, and read its files in the order of their names."""
    files = check_dicom(folder).files
    write_derived_series(out, volume, files, Derivation(**{**DERIVATION.__dict__, **changes}))
    return [pydicom.dcmread(path) for path in sorted(out.iterdir())]


def sources_of(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(path) for path in check_dicom(folder).files]
