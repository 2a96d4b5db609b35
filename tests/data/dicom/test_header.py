"""The derived header, element by element, and its checks by dicom3tools where that is installed."""

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

from monai_nce.data import Provenance
from monai_nce.data.dicom.header import Program
from monai_nce.data.dicom.reader import check_dicom
from monai_nce.data.dicom.writer import write_derived_series
from tests.data.derived_series import COPIED, DERIVATION, NOT_COPIED, SENTINEL, code_item, complete, derive, sources_of

# beside the interpreter, whether or not its environment is activated
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
DCIODVFY, DCENTVFY = (shutil.which(name, path=TOOLS) or "" for name in ("dciodvfy", "dcentvfy"))
needs_dciodvfy = pytest.mark.skipif(not (DCIODVFY and DCENTVFY), reason="dicom3tools is not installed")


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


PHANTOM = {"name": "monai-nce phantom", "kind": "phantom", "patients": 15, "scans": 30}
VIRTUAL = {"name": "monai-nce virtual", "kind": "virtual", "patients": 120, "scans": 240}
REAL = {"name": "a name of many words " * 30, "kind": "real", "patients": 3, "scans": 3}


@pytest.mark.parametrize("mode", ["carry", "clamp"])
@pytest.mark.parametrize(
    "provenance",
    [
        Provenance(),
        Provenance([VIRTUAL, REAL]),
        Provenance([PHANTOM], "phantom"),
        Provenance([PHANTOM]),
        Provenance([VIRTUAL, REAL], None, "arterial", 1.25),
        Provenance([PHANTOM], None, "arterial", 1.25),
        Provenance([{**PHANTOM, "name": f"phantoms, set {number}"} for number in range(50)]),
    ],
)
def test_the_header_says_what_the_weights_learnt_from(
    provenance: Provenance, mode: str, source: Path, volume: np.ndarray, tmp_path: Path
) -> None:
    made = derive(source, volume, tmp_path / "out", provenance=provenance, mode=mode)[0]
    program = made.ContributingEquipmentSequence[0]
    assert f"trained on {provenance.kinds}." in made.DerivationDescription
    assert f"trained on {provenance.trained_on}." in program.ContributionDescription
    alone, asked = provenance.phantoms_alone, provenance.asked
    how = "AI trained on phantoms" if alone else ", ".join(filter(None, ("AI", asked)))
    assert made.SeriesDescription == f"SYNTHETIC CECT ({how}) - research only"
    for text in (made.DerivationDescription, made.ImageComments):
        assert ("Asked for: arterial, level 1.25." in text) == bool(asked)
        assert ("trained on phantoms alone, and this scan is none" in text) == alone
        assert "Research use only" in text and text.isascii()
    # as long as the standard allows: LO 64, ST 1024 characters
    assert len(made.SeriesDescription) <= 64
    assert len(made.DerivationDescription) <= 1024 and len(program.ContributionDescription) <= 1024


def test_another_program_names_itself(source: Path, volume: np.ndarray, tmp_path: Path) -> None:
    program = Program("an institute", "a model", "1.2")
    made = derive(source, volume, tmp_path / "out", program=program, mode="predicted", title="SYNTHETIC CT")[0]
    for item in (made, made.ContributingEquipmentSequence[0]):
        assert (item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions) == (
            "an institute",
            "a model",
            "1.2",
        )
    assert made.SeriesDescription.startswith("SYNTHETIC CT (AI)")
    text = made.DerivationDescription
    assert "a model 1.2, weights SHA-256" in text and "Values are the network's prediction." in text
    assert "monai-nce" not in text and "carried over" not in text and "Outside the body" not in text


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
def test_margins_of_error_say_that_they_are(
    write_series: Callable[..., Path], volume: np.ndarray, tmp_path: Path
) -> None:
    source = write_series(tmp_path / "source", scanner_like)
    said = "Within it are 90% of the body's voxels, on average over patients like those of its calibration."
    image = derive(source, volume, tmp_path / "image")[0]
    margin = derive(source, np.abs(volume), tmp_path / "margin", margin=said)[0]
    assert not any(errors(path) for path in (tmp_path / "margin").iterdir())
    assert margin.SeriesDescription == "SYNTHETIC CECT, margin of error - research only"
    assert said in margin.DerivationDescription and margin.DerivationDescription.startswith("NO ANATOMY: how far")
    assert margin.ImageComments.startswith("MARGIN OF ERROR of a synthetic image, in HU.")
    assert margin.SeriesNumber == image.SeriesNumber + 1 and margin.SyntheticData == "YES"
    assert (margin.WindowCenter, margin.WindowWidth, margin.RescaleType) == (50, 100, "HU")
    assert len(margin.DerivationDescription) <= 1024


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
