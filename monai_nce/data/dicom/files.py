"""Open single DICOM files, also damaged and hostile ones.

pydicom's own warnings quote values, which may be a patient's, so they are silenced; the reader says what matters
without the value.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from monai_nce.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

__all__ = ["INSTALL", "DicomFile", "is_dicom", "looks_like_slice", "open_dicom", "quiet_pydicom", "scan_file"]

INSTALL = "pip install monai-nce[dicom]"
SLICE_SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_UNPACKED = 2**28  # bytes of a file that was deflated as a whole
CHUNK = 2**20
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"  # and those of several frames, which begin likewise
CAPTURE_TYPES = {"SCREEN SAVE", "DOSE_INFO", "CSA REPORT"}  # of ImageType
TEXT = 1024  # bytes that are looked at
NO_TEXT = ("<!doctype", "<html", "<?xml", "version https://git-lfs")
PREFIX_END = 132  # 128 bytes of preamble, and "DICM"
# The first tag's group and element of a data set stored without preamble and prefix: (0002,0000) to (0008,00FF), in
# little endian and, for what is older still, big endian.
BARE_STARTS = (b"\x02\0", b"\x08\0"), (b"\0\x02", b"\0\x08")
READ = (
    *("AcquisitionDate", "AcquisitionNumber", "AcquisitionTime", "BitsAllocated", "BitsStored", "Columns"),
    *("ContrastBolusAdministrationRouteSequence", "ContrastBolusAgent", "ContrastBolusAgentSequence"),
    *("ContrastBolusIngredient", "ContrastBolusRoute", "ContrastBolusStartTime", "ContrastBolusTotalDose"),
    *("ContrastBolusVolume", "FrameOfReferenceUID", "HighBit", "ImageComments", "ImageOrientationPatient"),
    *("ImagePositionPatient", "ImageType", "LossyImageCompression", "Modality"),
    *("ModalityLUTSequence", "NumberOfFrames", "PatientBirthDate", "PatientID", "PatientName", "PatientSex"),
    *("PerFrameFunctionalGroupsSequence", "PhotometricInterpretation", "PixelPresentation", "PixelSpacing"),
    *("ProtocolName", "RealWorldValueMappingSequence", "RedPaletteColorLookupTableDescriptor"),
    *("RescaleIntercept", "RescaleSlope", "RescaleType", "Rows", "SOPClassUID", "SamplesPerPixel"),
    *("SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "SharedFunctionalGroupsSequence"),
    *("SliceThickness", "SpecificCharacterSet", "StudyDescription", "StudyInstanceUID", "SyntheticData"),
    "TemporalPositionIdentifier",
)
_silence = threading.RLock()


@dataclass(frozen=True)
class DicomFile:
    """Hold what the header of a file says.

    Attributes:
        path: the file.
        header: some of its elements, none of its voxels; None if it could not be read.
        kind: ``"image"``, ``"localizer"``, ``"capture"`` for a picture without a place (a dose report, a protocol),
            ``"other"`` for a DICOM file that is no image (a report, a DICOMDIR), ``"broken"`` for one that is damaged.
        problem: what is wrong with a broken one.
    """

    path: Path
    header: Dataset | None
    kind: str
    problem: str = ""


@contextmanager
def quiet_pydicom(path: Path) -> Iterator[None]:
    """Silence pydicom, and say in one line where it is missing.

    Silences the whole process, so one thread at a time. ``path`` is for the message.

    Raises:
        InputError: if pydicom is not installed.
    """
    try:
        from pydicom import config
    except ImportError as error:
        raise InputError(f"{path}: reading DICOM needs pydicom: {INSTALL}") from error
    logger = logging.getLogger("pydicom")
    with _silence:
        disabled = logger.disabled
        logger.disabled = True
        try:
            with warnings.catch_warnings(), config.disable_value_validation():
                warnings.simplefilter("ignore")
                yield
        finally:
            logger.disabled = disabled


def is_dicom(path: Path) -> bool:
    """Return whether a file begins as DICOM: with its prefix, or with the data set right away.

    Raises:
        OSError: if it cannot be opened.
    """
    with open(path, "rb") as file:
        start = file.read(PREFIX_END)
    return start[128:] == b"DICM" or (len(start) == PREFIX_END and _is_bare(start))


def scan_file(path: Path) -> DicomFile | None:
    """Read a file's header; None if nothing about its content says DICOM.

    Raises:
        InputError: if pydicom is not installed.
    """
    try:
        if not is_dicom(path):
            return None
    except OSError:
        return DicomFile(path, None, "broken", "cannot be opened")
    with quiet_pydicom(path):
        from pydicom.uid import UID, CTImageStorage

        try:
            header = open_dicom(path, specific_tags=list(READ), stop_before_pixels=True)
            list(header)  # pydicom converts values when they are asked for
        except Exception:  # of many kinds
            return DicomFile(path, None, "broken", "not a readable DICOM file")
        if "Rows" not in header:
            kind = UID(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
            if kind == CTImageStorage or kind.type != "SOP Class":
                return DicomFile(path, header, "broken", "a CT image without Rows, or a truncated file")
            return DicomFile(path, header, "other")
        image_type = {str(value).upper() for value in _as_list(header.get("ImageType"))}
        if "LOCALIZER" in image_type:
            return DicomFile(path, header, "localizer")
        return DicomFile(path, header, "capture" if _is_capture(header, image_type) else "image")


def _is_capture(header: Dataset, image_type: set[str]) -> bool:
    """Return whether an image without a place shows text or a picture, as scanners and PACS add them to a study.

    A CT slice that lost its place is none: it is refused, since it is missing.
    """
    placed = any(header.get(f"{groups}FunctionalGroupsSequence") for groups in ("Shared", "PerFrame"))
    if placed or header.get("ImagePositionPatient"):
        return False
    uid = str(header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID") or "")
    if uid == SECONDARY_CAPTURE or uid.startswith(f"{SECONDARY_CAPTURE}."):
        return True
    in_colour = bool(header.get("SamplesPerPixel") == 3)
    return in_colour or bool(image_type & CAPTURE_TYPES) or {"SECONDARY", "OTHER"} <= image_type


def open_dicom(path: Path, specific_tags: list[str] | None = None, stop_before_pixels: bool = False) -> Dataset:
    """Run ``pydicom.dcmread`` on a file with or without preamble, with a bound on memory.

    Args:
        path: a DICOM file.
        specific_tags: keywords of the elements that are wanted; all if None.
        stop_before_pixels: leave the voxels out.

    Raises:
        Exception: whatever pydicom raises on a damaged file.
    """
    from pydicom import dcmread
    from pydicom.tag import Tag
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with open(path, "rb") as file:
        bare = file.read(PREFIX_END)[128:] != b"DICM"
        if not bare:
            _check_inflation(path, file)
    tags: list[BaseTag | int] | None = None if specific_tags is None else [Tag(keyword) for keyword in specific_tags]
    dataset = dcmread(path, stop_before_pixels=stop_before_pixels, specific_tags=tags, force=bare)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def looks_like_slice(path: Path, names: Iterable[str]) -> bool:
    """Return whether a file that is no DICOM was probably a slice once, by the ``names`` of those beside it.

    One that was emptied or overwritten must not be left out as if it were a readme; a text is one, unless it has the
    name of a slice.
    """
    names = list(names)
    suffixes = {Path(name).suffix for name in names}
    if _is_text(path):
        pattern = re.sub(r"\d+", "0", path.name)
        return any(letter.isdigit() for letter in path.name) and pattern in (
            re.sub(r"\d+", "0", name) for name in names
        )
    if path.suffix.lower() in SLICE_SUFFIXES:
        return True
    numbered = any(letter.isdigit() for letter in path.name)
    return numbered and bool(suffixes) and (path.suffix in suffixes or path.suffix[1:].isdigit())


def _is_text(path: Path) -> bool:
    """Return whether a file begins as a text that a person wrote: no page of a server, nor a pointer to a file."""
    try:
        with open(path, "rb") as file:
            start = file.read(TEXT)
    except OSError:
        return False
    try:
        text = start.decode("utf-8-sig", errors="strict" if len(start) < TEXT else "ignore")
    except UnicodeDecodeError:
        text = start.decode("latin-1")
        if sum(character > "\x7f" for character in text) > len(text) // 10:
            return False
    printable = all(character.isprintable() or character in "\t\r\n\f" for character in text)
    return bool(text.strip()) and printable and not text.lstrip().lower().startswith(NO_TEXT)


def _is_bare(start: bytes) -> bool:
    little, big = BARE_STARTS
    return (start[:2] in little and start[3] == 0) or (start[:2] in big and start[2] == 0)


def _check_inflation(path: Path, file: BinaryIO) -> None:
    """Refuse a deflated file that unpacks without end, which pydicom would do in one go; ``file`` is at PREFIX_END."""
    from pydicom.filereader import _read_file_meta_info  # no public one leaves the file where the data set begins
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    unpacker, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    pending = file.read(CHUNK)
    while pending and not unpacker.eof:
        size += len(unpacker.decompress(pending, CHUNK))
        if size > MAX_UNPACKED:
            raise InputError(f"{path}: unpacks to more than {MAX_UNPACKED} bytes")
        pending = unpacker.unconsumed_tail or file.read(CHUNK)


def _as_list(value: object) -> list[object]:
    """pydicom gives one value as itself, several as a list."""
    if value is None or isinstance(value, str):
        return [value] if value else []
    return list(value) if hasattr(value, "__iter__") else [value]
