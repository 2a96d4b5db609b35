"""Copy elements from an acquired CT slice into one that is derived from it, by lists of what may pass.

An element that is on none of them (contrast medium, dose, padding value, private elements, the scanner's protocol)
cannot slip through.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

__all__ = ["PATIENT", "SCANNER", "SERIES", "SLICE", "STUDY", "UNPAIRED", "copy_elements", "keep_bytes"]

PATIENT = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID"),
    *("OtherPatientIDsSequence", "OtherPatientNames", "PatientBirthDate", "PatientBirthTime", "PatientSex"),
    *("EthnicGroup", "QualityControlSubject"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
)
STUDY = (
    *("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "PhysiciansOfRecord"),
    *("ProcedureCodeSequence", "LongitudinalTemporalInformationModified"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered"),  # patient study module
)
SERIES = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC", "BodyPartExamined", "Laterality", "PatientPosition"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "RecognizableVisualFeatures"),
)
SLICE = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("SliceLocation", "GantryDetectorTilt", "KVP", "AcquisitionNumber"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
# Body parts of which there is one: for these Laterality must be absent, for all others it must be there (type 2C).
UNPAIRED = (
    *("ABDOMEN", "ABDOMENPELVIS", "AORTA", "BLADDER", "BRAIN", "CHEST", "CHESTABDOMEN", "CHESTABDPELVIS", "COLON"),
    *("CSPINE", "DUODENUM", "ESOPHAGUS", "GALLBLADDER", "HEAD", "HEADNECK", "HEART", "ILEUM", "LARYNX", "LIVER"),
    *("LSPINE", "LSSPINE", "MEDIASTINUM", "NECK", "NECKCHEST", "NECKCHESTABDOMEN", "NECKCHESTABDPELV", "PANCREAS"),
    *("PELVIS", "PROSTATE", "RECTUM", "SKULL", "SPINE", "SPLEEN", "SSPINE", "STERNUM", "STOMACH", "THYMUS"),
    *("THYROID", "TLSPINE", "TRACHEA", "TSPINE", "UTERUS", "WHOLEBODY"),
)
SCANNER = ("Manufacturer", "ManufacturerModelName")


def copy_elements(source: Dataset, target: Dataset, keywords: Iterable[str]) -> None:
    """Copy the public elements of these keywords that the source, as ``pydicom.dcmread`` gives it, has.

    Text is copied as bytes, so that a number keeps its digits, and a name that its character set cannot decode is not
    replaced by question marks. Sequences are copied without private elements.
    """
    from pydicom.tag import Tag

    for keyword in keywords:
        if keyword in source:
            _copy(source, target, Tag(keyword))


def keep_bytes(dataset: Dataset) -> None:
    """Let a complete dataset be written in Explicit VR Little Endian without decoding its copied elements."""
    from pydicom.charset import convert_encodings, default_encoding

    declared = dataset.get("SpecificCharacterSet")
    dataset.set_original_encoding(False, True, convert_encodings(declared) if declared else default_encoding)


def _copy(source: Dataset, target: Dataset, tag: BaseTag) -> None:
    from pydicom import Dataset
    from pydicom.datadict import dictionary_has_tag, dictionary_VR
    from pydicom.dataelem import DataElement, RawDataElement
    from pydicom.valuerep import STR_VR, VR

    vr = dictionary_VR(tag)
    element: object = source.get_item(tag)  # pydicom's type leaves out the undecoded kind
    if isinstance(element, RawDataElement) and VR(vr) in STR_VR:
        target[tag] = element._replace(VR=vr)  # implicit VR leaves it open
    elif vr != VR.SQ:
        target[tag] = source[tag]
    else:
        items = []
        for item in source[tag].value or ():
            copied = Dataset()
            for inner in list(item._dict):  # the tags alone: to iterate over elements would decode them
                if not inner.is_private and dictionary_has_tag(inner):
                    _copy(item, copied, inner)
            keep_bytes(copied)
            items.append(copied)
        if items:
            target[tag] = DataElement(tag, VR.SQ, items)
