"""The derived series, element by element, and its checks by dicom3tools where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from monai_nce.data.dicom_header import Derivation
from monai_nce.data.dicom_reader import check_dicom
from monai_nce.data.dicom_writer import write_derived_series
from monai_nce.errors import InputError

DERIVATION = Derivation("0123456789abcdef" * 4, "carry", 50, 300)
SENTINEL = "SENTINEL"
# beside the interpreter, whether or not its environment is activated
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
DCIODVFY, DCENTVFY = (shutil.which(name, path=TOOLS) or "" for name in ("dciodvfy", "dcentvfy"))
needs_dciodvfy = pytest.mark.skipif(not (DCIODVFY and DCENTVFY), reason="dicom3tools is not installed")
GEOMETRY = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "FrameOfReferenceUID"),
    *("PatientPosition", "GantryDetectorTilt", "SliceLocation", "Rows", "Columns"),
)
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



@pytest.fixture
def source(write_series: Callable[..., Path], tmp_path: Path) -> Path:
    return write_series(tmp_path / "source", complete)


@pytest.fixture
def volume(hu: np.ndarray) -> np.ndarray:
    """A synthetic volume with halves and with values beyond int16."""
    volume = hu.astype(np.float32) + 40.25
    volume[0, 0, 0], volume[1, 0, 0] = 40000, -40000
    return volume


def test_voxels_and_geometry_are_those_of_each_slice(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    made = derive(source, volume, tmp_path / "out")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        f"synthetic_000{number}.dcm" for number in range(1, 6)
    ]
    expected = np.clip(np.rint(volume), -32768, 32767)
    for index, (dataset, origin) in enumerate(zip(made, sources_of(source), strict=True)):
        np.testing.assert_array_equal(dataset.pixel_array, expected[:, :, index].T)
        for keyword in GEOMETRY:
            assert dataset[keyword] == origin[keyword], keyword
        assert dataset.InstanceNumber == origin.InstanceNumber
    assert made[0].file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert made[0]["PixelData"].VR == "OW"


def test_numbers_keep_their_digits(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    derive(source, volume, tmp_path / "out")
    written = (tmp_path / "out" / "synthetic_0002.dcm").read_bytes()
    for digits in (rb"-10.000\-20.0\32.500", rb"1.000000\0\0.0\-0.0\1\0", b"5.00", b"61.50", b"120.0"):
        assert digits in written


def test_patient_study_and_provenance_are_copied(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    for made, origin in zip(derive(source, volume, tmp_path / "out"), sources_of(source), strict=True):
        for keyword in (*COPIED, "StudyInstanceUID"):
            assert made[keyword].value == origin[keyword].value, keyword
        assert made.ProcedureCodeSequence[0].CodeMeaning == "a meaning"


def test_nothing_else_is_copied(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    derive(source, volume, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert SENTINEL.encode() not in path.read_bytes()
        made = pydicom.dcmread(path)
        replaced = {"SeriesDescription", "ImageComments"}
        assert not [keyword for keyword in NOT_COPIED if keyword in made and keyword not in replaced]
        assert not [element for element in made.iterall() if element.tag.is_private]
        assert not [element for element in made.iterall() if "Contrast" in element.keyword]


def test_the_header_says_what_it_is(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    for made, origin in zip(derive(source, volume, tmp_path / "out"), sources_of(source), strict=True):
        assert made.SOPClassUID == made.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
        assert made.SOPInstanceUID == made.file_meta.MediaStorageSOPInstanceUID
        assert made.Modality == "CT"
        assert made.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert made.SyntheticData == made[0x0008, 0x001C].value == "YES"
        assert made.ContentQualification == "RESEARCH"
        assert made.SeriesDescription == "SYNTHETIC CECT (AI) - research only"
        assert made.BurnedInAnnotation == "NO"
        assert (made.WindowCenter, made.WindowWidth) == (50, 300)
        assert (made.RescaleSlope, made.RescaleIntercept, made.RescaleType) == (1, 0, "HU")
        assert (made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation) == (16, 16, 15, 1)
        assert (made.SamplesPerPixel, made.PhotometricInterpretation) == (1, "MONOCHROME2")
        assert "Research use only" in made.ImageComments and "Research use only" in made.DerivationDescription
        (reference,) = made.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == origin.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == origin.SOPClassUID
        assert reference.SpatialLocationsPreserved == "YES"
        (purpose,) = reference.PurposeOfReferenceCodeSequence
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
        program, scanner = made.ContributingEquipmentSequence
        assert program.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
        assert program.SoftwareVersions and DERIVATION.weights_sha256 in program.ContributionDescription
        assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
        assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("A company", "Scanner 3")
        assert made.Manufacturer == "monai-nce contributors"


def test_uids_are_new_in_each_run_and_the_sources_only_in_references(
    source: Path, volume: np.ndarray, tmp_path: Path
) -> None:
    runs = [derive(source, volume, tmp_path / name) for name in ("one", "two")]
    origins = sources_of(source)
    old = {dataset.SOPInstanceUID for dataset in origins} | {origins[0].SeriesInstanceUID}
    new = [uid for made in runs for uid in {*(d.SOPInstanceUID for d in made), *(d.SeriesInstanceUID for d in made)}]
    assert len(new) == len(set(new)) == 2 * (5 + 1)
    assert not old & set(new)
    for made, origin in zip(runs[0], origins, strict=True):
        at_top = [element.value for element in made if element.VR == "UI"]
        assert origin.SOPInstanceUID not in at_top and origin.SeriesInstanceUID not in at_top


def test_series_number_and_dates_are_new(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    before = datetime.now().replace(microsecond=0)
    made = derive(source, volume, tmp_path / "out")
    assert {dataset.SeriesNumber for dataset in made} == {9003}
    for event in ("Series", "Content", "InstanceCreation"):
        (moment,) = {dataset[f"{event}Date"].value + dataset[f"{event}Time"].value for dataset in made}
        assert before <= datetime.strptime(moment, "%Y%m%d%H%M%S") <= datetime.now()


@pytest.mark.parametrize(
    ("number", "expected"), [("", 9000), (None, 9000), (0, 9000), (2147483647, 9000), (-12000, 9000), (9000, 18000)]
)
def test_any_series_number_leads_to_another(
    number: Any, expected: int, write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    def edit(index: int, dataset: Dataset) -> None:
        dataset.SeriesNumber = number
        if number is None:
            del dataset.SeriesNumber

    made = derive(write_series(tmp_path / "source", edit), volume, tmp_path / "out")
    assert {dataset.SeriesNumber for dataset in made} == {expected}


@pytest.mark.parametrize(("offset", "kept"), [("+1345", True), ("-0500", True), ("soon", False)])
def test_dates_are_in_the_time_zone_that_the_source_declares(
    offset: str, kept: bool, write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    def edit(index: int, dataset: Dataset) -> None:
        dataset.TimezoneOffsetFromUTC = offset

    made = derive(write_series(tmp_path / "source", edit), volume, tmp_path / "out")[0]
    assert ("TimezoneOffsetFromUTC" in made) == kept
    if kept:
        moment = datetime.strptime(made.SeriesDate + made.SeriesTime + offset, "%Y%m%d%H%M%S%z")
        assert abs(moment.timestamp() - datetime.now().timestamp()) < 60


def test_equal_or_missing_instance_numbers_become_a_numbering(
    write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    def same(index: int, dataset: Dataset) -> None:
        dataset.InstanceNumber = 7

    def missing(index: int, dataset: Dataset) -> None:
        if index == 2:
            del dataset.InstanceNumber

    for name, edit in (("same", same), ("missing", missing)):
        made = derive(write_series(tmp_path / name, edit), volume, tmp_path / f"{name}_out")
        assert [dataset.InstanceNumber for dataset in made] == [1, 2, 3, 4, 5]


def test_what_happens_beyond_the_window_is_said(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    carry = derive(source, volume, tmp_path / "carry")[0].DerivationDescription
    clamp = derive(source, volume, tmp_path / "clamp", mode="clamp", window_level=40, window_width=400)[0]
    assert "No contrast medium was given for it" in carry
    assert "[-100, 200] HU" in carry and "carried over" in carry
    assert "[-160, 240] HU" in clamp.DerivationDescription and "lost" in clamp.DerivationDescription
    assert (clamp.WindowCenter, clamp.WindowWidth) == (40, 400)
    assert "names a contrast agent" in carry  # the fixture's source has a ContrastBolusAgent
    for description in (carry, clamp.DerivationDescription):
        assert len(description) <= 1024 and description.isascii() and DERIVATION.weights_sha256 in description


def test_a_source_without_contrast_is_not_said_to_have_any(
    write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    made = derive(write_series(tmp_path / "source"), volume, tmp_path / "out")[0]
    assert "names a contrast agent" not in made.DerivationDescription
    assert len(made.ContributingEquipmentSequence) == 1  # the scanner is not named
    assert "LossyImageCompression" not in made


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg".encode("latin1")),
        ("ISO_IR 192", "Müller^Jörg=山田".encode()),
        (["", "ISO 2022 IR 87"], b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"),
        ("ISO_IR 144", "Люкceмбypг".encode("iso8859_5")),
        (None, "Müller".encode("latin1")),  # not declared
        ("ISO_IR 192", "Müller".encode("latin1")),  # declared wrongly
        ("NO SUCH SET", "Müller".encode("latin1")),
    ],
)
def test_names_are_copied_byte_by_byte(
    character_set: Any, name: bytes, write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    name += b" " * (len(name) % 2)
    placeholder = "N" * len(name)  # pydicom would not write all of these

    def edit(index: int, dataset: Dataset) -> None:
        if character_set is not None:
            dataset.SpecificCharacterSet = character_set
        dataset.PatientName = placeholder
        dataset.OtherPatientIDsSequence = [Dataset()]
        dataset.OtherPatientIDsSequence[0].PatientID = placeholder

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on making the source
        source = write_series(tmp_path / "source", edit)
        for path in source.iterdir():
            path.write_bytes(path.read_bytes().replace(placeholder.encode(), name))
        files = check_dicom(source).files
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_derived_series(tmp_path / "out", volume, files, DERIVATION)
    assert (tmp_path / "out" / "synthetic_0001.dcm").read_bytes().count(name) == 2


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_sources_in_other_transfer_syntaxes(
    syntax: str, write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "source", complete)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.PatientSexNeutered = "UNALTERED"
        if syntax == RLELossless:
            dataset.compress(syntax, generate_instance_uid=False)
        else:
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
        little = syntax != ExplicitVRBigEndian
        implicit = syntax == ImplicitVRLittleEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    for made, origin in zip(derive(source, hu, tmp_path / "out"), sources_of(source), strict=True):
        assert made.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        for keyword in (*GEOMETRY, *COPIED, "PatientSexNeutered"):
            assert made[keyword].value == origin[keyword].value, keyword
        assert made.ProcedureCodeSequence[0].CodeMeaning == "a meaning"
        np.testing.assert_array_equal(made.pixel_array, origin.pixel_array.astype(int) - 1024)


def test_a_source_without_preamble(
    write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    """As old archives store them; whatever the reader takes can be derived from."""
    source = write_series(tmp_path / "source", complete)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True, force_encoding=True)
        meta = pydicom.filereader.read_file_meta_info(path)
        content = path.read_bytes()[144 + meta.FileMetaInformationGroupLength :]
        path.write_bytes(content)
    for index, made in enumerate(derive(source, hu, tmp_path / "out")):
        np.testing.assert_array_equal(made.pixel_array, hu[:, :, index].T)


def test_tilted_slices_keep_their_own_positions(
    write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    def tilt(index: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [-10, -20 + 0.5 * index, 30 + 2.5 * index]
        dataset.GantryDetectorTilt = 11.3

    files = sorted(write_series(tmp_path / "source", tilt).iterdir())
    write_derived_series(tmp_path / "out", hu, files, DERIVATION)
    for index, path in enumerate(sorted((tmp_path / "out").iterdir())):
        made = pydicom.dcmread(path)
        assert made.ImagePositionPatient == [-10, -20 + 0.5 * index, 30 + 2.5 * index]
        assert made.GantryDetectorTilt == 11.3


def test_a_lossy_transfer_syntax_without_the_flag_gets_it(
    write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "source")
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(pydicom.uid.JPEGLSNearLossless, jls_error=2, generate_instance_uid=False)
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            dataset.pop(keyword, None)
        dataset.save_as(path)
    assert {made.LossyImageCompression for made in derive(source, hu, tmp_path / "out")} == {"01"}


def stripped(index: int, dataset: Dataset) -> None:
    """Only what the reader needs: no patient, no study, no identifiers but those in the file's meta header."""
    for keyword in ("PatientID", "StudyInstanceUID", "InstanceNumber", "SeriesNumber", "SOPInstanceUID"):
        delattr(dataset, keyword)
    dataset.SeriesInstanceUID = ""


def test_required_elements_are_there_where_the_source_lacks_them(
    write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "source", stripped)
    with pytest.warns(UserWarning, match="has no StudyInstanceUID; the derived one is in a study of its own"):
        made = derive(source, volume, tmp_path / "out")
    empty = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID")
    for keyword in (*empty, "AccessionNumber", "ReferringPhysicianName", "PatientPosition", "KVP", "Laterality"):
        assert keyword in made[0] and not made[0][keyword].value, keyword
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        (uid,) = {dataset[keyword].value for dataset in made}
        assert pydicom.uid.UID(uid).is_valid
    for dataset, origin in zip(made, sources_of(source), strict=True):
        meta = origin.file_meta.MediaStorageSOPInstanceUID
        assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == meta


def errors(path: Path) -> list[str]:
    done = subprocess.run([DCIODVFY, path], capture_output=True, text=True)
    assert "CTImage" in done.stderr + done.stdout  # it recognised what it was given
    return [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]


def scanner_like(index: int, dataset: Dataset) -> None:
    complete(index, dataset)
    del dataset.SpecificCharacterSet
    dataset.DeidentificationMethodCodeSequence = [code_item()]


@needs_dciodvfy
@pytest.mark.parametrize("body_part", [None, "", "ABDOMEN", "KIDNEY", "PARTIALBODY"])
@pytest.mark.parametrize("edit", [scanner_like, stripped])
def test_dciodvfy_finds_no_errors(
    edit: Callable, body_part: str | None, write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    def both(index: int, dataset: Dataset) -> None:
        edit(index, dataset)
        dataset.pop("BodyPartExamined", None)
        if body_part is not None:
            dataset.BodyPartExamined = body_part
        if body_part == "ABDOMEN":
            dataset.Laterality = ""  # as some scanners write it, against the standard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a new study
        derive(write_series(tmp_path / "source", both), volume, tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert not errors(path)


@needs_dciodvfy
@pytest.mark.filterwarnings("ignore:.*no StudyInstanceUID")
def test_a_real_series_that_lacks_uids(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "cect_abdomen_dicom" / "series"
    made = derive(folder, np.zeros((512, 512, 20)), tmp_path / "out")
    assert not errors(tmp_path / "out" / "synthetic_0001.dcm")
    for dataset, origin in zip(made, sources_of(folder), strict=True):
        assert dataset.ImagePositionPatient == origin.ImagePositionPatient
        uid = origin.file_meta.MediaStorageSOPInstanceUID
        assert dataset.SourceImageSequence[0].ReferencedSOPInstanceUID == uid


@needs_dciodvfy
def test_source_and_derived_series_are_consistent(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    derive(source, volume, tmp_path / "out")
    files = [*source.iterdir(), *(tmp_path / "out").iterdir()]
    done = subprocess.run([DCENTVFY, *files], capture_output=True, text=True)
    assert "Error" not in done.stdout + done.stderr


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # on making the source
def test_values_of_the_source_are_quoted_in_no_warning(
    write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def spoil(index: int, dataset: Dataset) -> None:
        dataset.PatientBirthDate, dataset.StudyTime, dataset.PatientAge = "aaaaaaaa", "bbbbbb", "cccc"
        dataset.PatientWeight, dataset.AcquisitionNumber = "1", "2"

    source = write_series(tmp_path / "source", spoil)
    for path in source.iterdir():
        spoiled = path.read_bytes().replace(b"aaaaaaaa", b"SENTINEL").replace(b"bbbbbb", b"SENTIN")
        path.write_bytes(spoiled.replace(b"cccc", b"SENT").replace(b"DS\x02\x001 ", b"DS\x02\x00x "))
    files = check_dicom(source).files
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_derived_series(tmp_path / "out", volume, files, DERIVATION)
    assert not caught and not any(capsys.readouterr())
    assert b"SENTINEL" in (tmp_path / "out" / "synthetic_0001.dcm").read_bytes()  # the patient's module is copied


def test_an_earlier_series_is_replaced_whole(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    out = tmp_path / "out"
    derive(source, volume, out)
    shutil.copy(out / "synthetic_0001.dcm", out / "synthetic_0099.dcm")
    made = derive(source, volume + 1, out)
    assert len(made) == 5 and made[3].pixel_array[2, 2] == round(float(volume[2, 2, 3]) + 1)


def test_a_full_disk_leaves_the_earlier_series(
    source: Path, volume: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    derive(source, volume, tmp_path / "out")
    old = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    real, count = pydicom.dcmwrite, 0

    def full(*args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        if count == 3:
            raise OSError(28, "No space left on device")
        real(*args, **kwargs)

    monkeypatch.setattr(pydicom, "dcmwrite", full)
    with pytest.raises(OSError, match="No space left"):
        derive(source, volume + 1, tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_a_source_that_vanishes_meanwhile_is_named(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    files = check_dicom(source).files
    os.remove(files[3])
    with pytest.raises((InputError, FileNotFoundError), match=files[3].name):
        write_derived_series(tmp_path / "out", volume, files, DERIVATION)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_what_is_no_earlier_series_is_not_replaced(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    file.write_text("mine")
    link.symlink_to(source)
    for path in (folder, file, link, source):
        with pytest.raises(InputError, match=path.name):
            write_derived_series(path, volume, check_dicom(source).files, DERIVATION)
    assert (folder / "notes.txt").read_text() == file.read_text() == "mine"
    assert link.is_symlink() and len(check_dicom(source).files) == 5


@pytest.mark.parametrize("shape", [(7, 6, 4), (6, 7, 5), (7, 6)])
def test_a_volume_that_does_not_fit_is_refused(source: Path, shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected"):
        derive(source, np.zeros(shape), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nan_is_refused(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    volume[2, 2, 2] = np.nan
    with pytest.raises(ValueError, match="expected finite HU"):
        derive(source, volume, tmp_path / "out")
    assert not (tmp_path / "out").exists()
