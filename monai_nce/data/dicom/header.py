"""Make the header of a synthetic CT slice from that of the acquired one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from monai_nce import __version__
from monai_nce.data.dataset.provenance import Provenance
from monai_nce.data.dicom.copy import PATIENT, SCANNER, SERIES, SLICE, STUDY, UNPAIRED, copy_elements
from monai_nce.data.dicom.lossy import lossy_compression

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Derivation", "Program", "SeriesIdentity", "derived_header", "new_series"]

# Required to be there, but allowed to be empty (type 2).
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName", "PatientPosition", "PositionReferenceIndicator", "SliceThickness"),
    *("KVP", "AcquisitionNumber"),
)
DESCRIPTION = "{} ({}) - research only"  # has room for 64 characters
MARGIN_DESCRIPTION = "SYNTHETIC CECT, margin of error - research only"
MARGIN_WINDOW = ("50", "100")  # HU
SERIES_NUMBER_OFFSET = 9000  # far from the numbers that scanners give
MAX_SERIES_NUMBER = 2**31 - 2


@dataclass(frozen=True)
class Program:
    """Name the program that computed a series: of another model's, in another application, its own."""

    manufacturer: str = "monai-nce contributors"
    model_name: str = "monai-nce"
    version: str = __version__


@dataclass(frozen=True)
class Derivation:
    """Say how a synthetic series was made.

    Attributes:
        weights_sha256: of the network's checkpoint, 64 hexadecimal digits.
        mode: "carry" or "clamp", as in :class:`monai_nce.transforms.CarryHU`; "predicted" where all values are the
            network's own.
        window_level: centre of the network's window in HU, also that of the display.
        window_width: its width in HU.
        provenance: what the weights learnt from, and whether they meet a scan of another kind.
        margin: None for the synthetic image itself; else the values are how far that may be off, and this says for
            which share of voxels that holds and how it was found.
        program: that computed it.
        title: begins the SeriesDescription.
    """

    weights_sha256: str
    mode: str
    window_level: float
    window_width: float
    provenance: Provenance = Provenance()
    margin: str | None = None
    program: Program = Program()
    title: str = "SYNTHETIC CECT"

    def description(self, source_names_contrast: bool) -> str:
        """Write the DerivationDescription; it says so where the acquired slice itself names a contrast agent."""
        low, high = (self.window_level + side * self.window_width / 2 for side in (-1, 1))
        window = f"window of [{low:g}, {high:g}] HU"
        beyond = {
            "carry": (
                f"The network sees a {window}; what lies beyond it is carried over from the source image: value ="
                " source + (prediction - source limited to the window)."
            ),
            "clamp": (
                f"Within the body values are the network's prediction, limited to its {window}: what the source image"
                " holds beyond the window is lost there."
            ),
            "predicted": "Values are the network's prediction.",
        }[self.mode]
        contrast = " The source image itself names a contrast agent." if source_names_contrast else ""
        asked = f" {self.provenance.request}" if self.provenance.request else ""
        warning = f" WARNING: {self.provenance.warning}" if self.provenance.warning else ""
        if self.margin is not None:
            return (
                "NO ANATOMY: how far the synthetic CECT that was computed from the referenced source image may be off,"
                f" in HU to either side. {self.margin} {self.program.model_name} {self.program.version}, weights"
                f" SHA-256 {self.weights_sha256}, trained on {self.provenance.kinds}.{asked}{warning} Research use"
                " only, not for diagnosis."
            )
        outside = "" if self.mode == "predicted" else " Outside the body values are those of the source."
        return (
            "SYNTHETIC image, computed by a neural network from the referenced source image and its neighbours. No"
            f" contrast medium was given for it: all enhancement that it adds is a guess.{contrast} {beyond}{outside}"
            f" {self.program.model_name} {self.program.version}, weights SHA-256"
            f" {self.weights_sha256}, trained on {self.provenance.kinds}.{asked}{warning} Research use only, not for"
            " diagnosis."
        )


@dataclass(frozen=True)
class SeriesIdentity:
    """Hold what all slices of one derived series share.

    Attributes:
        common: header with the elements of patient, study and series, as the first acquired slice has them.
        series_uid: new.
        series_number: new.
        made_at: time of writing, in the time zone that the acquired series declares, else the local one.
        study_is_new: the acquired series has no StudyInstanceUID, and a new one was made.
    """

    common: Dataset
    series_uid: str
    series_number: int
    made_at: datetime
    study_is_new: bool


def new_series(first: Dataset) -> SeriesIdentity:
    """Begin a derived series, given the header of the first acquired slice."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    common = Dataset()
    made_at = datetime.now()
    copy_elements(first, common, (*PATIENT, *STUDY, *SERIES))
    if "TimezoneOffsetFromUTC" in common:
        try:
            made_at = datetime.now(timezone.utc).astimezone(
                datetime.strptime(str(common.TimezoneOffsetFromUTC), "%z").tzinfo
            )
        except ValueError:
            del common.TimezoneOffsetFromUTC
    study_is_new = not common.get("StudyInstanceUID")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not common.get(keyword):
            setattr(common, keyword, generate_uid())
    number = SERIES_NUMBER_OFFSET
    with contextlib.suppress(TypeError, ValueError, OverflowError):  # empty or malformed
        number += int(first.get("SeriesNumber") or 0)
    number = number if 0 < number <= MAX_SERIES_NUMBER else SERIES_NUMBER_OFFSET
    return SeriesIdentity(common, generate_uid(), number, made_at, study_is_new)


def derived_header(source: Dataset, series: SeriesIdentity, derivation: Derivation, instance_number: int) -> Dataset:
    """Make the header of one synthetic slice for CT Image Storage, all but its pixels.

    Args:
        source: the acquired slice with its ``file_meta``; its geometry is copied element by element.
        series: as :func:`new_series` gives it.
        derivation: how the synthetic slice was made.
        instance_number: its number in the series.
    """
    from pydicom import Dataset, uid

    header = Dataset()
    copy_elements(series.common, header, (*PATIENT, *STUDY, *SERIES))
    copy_elements(source, header, SLICE)
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, None)
    if str(header.get("BodyPartExamined")) in UNPAIRED:
        header.pop("Laterality", None)
    elif "Laterality" not in header:
        header.Laterality = None
    if not header.get("LossyImageCompression") and lossy_compression(source) == "yes":
        header.LossyImageCompression = "01"

    header.SOPClassUID = uid.CTImageStorage
    header.SOPInstanceUID = uid.generate_uid()
    header.Modality = "CT"
    header.SeriesInstanceUID = series.series_uid
    header.SeriesNumber = series.series_number + (derivation.margin is not None)  # behind the image's own
    header.InstanceNumber = instance_number
    date, time = series.made_at.strftime("%Y%m%d"), series.made_at.strftime("%H%M%S")
    for event in ("Series", "Content", "InstanceCreation"):
        setattr(header, f"{event}Date", date)
        setattr(header, f"{event}Time", time)

    margin = derivation.margin is not None
    header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    header.SyntheticData = "YES"
    header.ContentQualification = "RESEARCH"
    provenance = derivation.provenance
    made_by = "AI trained on phantoms" if provenance.phantoms_alone else "AI"
    asked = f", {provenance.asked}" if provenance.asked and not provenance.phantoms_alone else ""
    described = DESCRIPTION.format(derivation.title, made_by + asked)
    header.SeriesDescription = MARGIN_DESCRIPTION if margin else described
    research = "Research use only, not for diagnosis."
    what = "MARGIN OF ERROR of a synthetic image, in HU." if margin else "SYNTHETIC, not acquired."
    comments = (what, provenance.request, provenance.warning, research)
    header.ImageComments = " ".join(filter(None, comments))
    header.BurnedInAnnotation = "NO"
    names_contrast = bool(source.get("ContrastBolusAgent") or source.get("ContrastBolusAgentSequence"))
    header.DerivationDescription = derivation.description(names_contrast)
    header.SourceImageSequence = _source_image(source)
    if not header.SourceImageSequence:
        del header.SourceImageSequence
    _name_program(header, derivation.program)
    header.ContributingEquipmentSequence = _equipment(source, derivation, date + time)

    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    header.RescaleSlope, header.RescaleIntercept, header.RescaleType = "1", "0", "HU"
    window = (f"{derivation.window_level:g}", f"{derivation.window_width:g}")
    header.WindowCenter, header.WindowWidth = MARGIN_WINDOW if margin else window
    return header


def _code(name: str) -> list[Dataset]:
    from pydicom import Dataset
    from pydicom.sr.codedict import codes

    code = getattr(codes.DCM, name)
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return [item]


def _source_image(source: Dataset) -> list[Dataset]:
    """Refer to the acquired slice; empty where it has no UID."""
    from pydicom import Dataset
    from pydicom.uid import CTImageStorage

    instance = source.get("SOPInstanceUID") or source.file_meta.get("MediaStorageSOPInstanceUID")
    if not instance:
        return []
    item = Dataset()
    item.ReferencedSOPClassUID = source.get("SOPClassUID") or source.file_meta.get(
        "MediaStorageSOPClassUID", CTImageStorage
    )
    item.ReferencedSOPInstanceUID = instance
    item.PurposeOfReferenceCodeSequence = _code("SourceImageForImageProcessingOperation")
    item.SpatialLocationsPreserved = "YES"
    return [item]


def _name_program(item: Dataset, program: Program) -> None:
    item.Manufacturer, item.ManufacturerModelName = program.manufacturer, program.model_name
    item.SoftwareVersions = program.version


def _equipment(source: Dataset, derivation: Derivation, made_at: str) -> list[Dataset]:
    """Describe this program, and the scanner where it is named."""
    from pydicom import Dataset

    scan = f" {derivation.provenance.scan_mark}" if derivation.provenance.scan_mark else ""
    program = Dataset()
    program.PurposeOfReferenceCodeSequence = _code("SynthesizingEquipment")
    _name_program(program, derivation.program)
    program.ContributionDateTime = made_at
    program.ContributionDescription = (
        f"Synthetic contrast enhancement by a neural network, mode {derivation.mode}. Weights SHA-256:"
        f" {derivation.weights_sha256}, trained on {derivation.provenance.trained_on}. Research use only.{scan}"
    )
    if not source.get("Manufacturer"):
        return [program]
    scanner = Dataset()
    scanner.PurposeOfReferenceCodeSequence = _code("AcquisitionEquipment")
    copy_elements(source, scanner, SCANNER)
    return [program, scanner]
