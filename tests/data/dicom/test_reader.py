from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless, generate_uid

from monai_nce.data.dicom import reader as dicom_reader
from monai_nce.data.dicom.reader import check_dicom, read_dicom
from monai_nce.errors import InputError

Series = Callable[..., Path]
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])  # RAS


def test_values_and_affine(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    volume, affine = read_dicom(write_series(tmp_path))
    assert volume.dtype == np.float32
    np.testing.assert_array_equal(volume, hu)
    np.testing.assert_allclose(affine, AFFINE)


def good_shuffled(index: int, dataset: Any) -> None:
    dataset.InstanceNumber = [4, 2, 5, 1, 3][index]


def good_rescale_per_slice(index: int, dataset: Any) -> None:
    dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -1024 - index
    stored = np.frombuffer(dataset.PixelData, "<u2") * 2 + 2 * index
    dataset.PixelData = stored.astype("<u2").tobytes()


def good_mixed_signedness(index: int, dataset: Any) -> None:
    if index % 2:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = (np.frombuffer(dataset.PixelData, "<u2").astype(int) - 1024).astype("<i2").tobytes()


def good_rounded_positions(index: int, dataset: Any) -> None:
    dataset.ImagePositionPatient = [-10, -20, round(30 + 2.5 * index + 0.01 * (index % 2), 2)]


def good_thickness_and_dates(index: int, dataset: Any) -> None:
    dataset.SliceThickness = [2.5, 2.500001][index % 2]
    dataset.SeriesDate = ["20200101", "20200102"][index % 2]


def good_anonymous(index: int, dataset: Any) -> None:
    del dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.PatientID


def good_jitter(index: int, dataset: Any) -> None:
    dataset.ImageOrientationPatient = [1, 1e-6 * (index % 2), 0, 0, 1, -1e-6 * (index % 3)]
    dataset.AcquisitionNumber = index % 2


def good_acquisition_numbers(index: int, dataset: Any) -> None:
    dataset.AcquisitionNumber = index


def good_rle(index: int, dataset: Any) -> None:
    dataset.compress(RLELossless)


@pytest.mark.parametrize(
    "edit",
    [
        good_shuffled,
        good_rescale_per_slice,
        good_mixed_signedness,
        good_rounded_positions,
        good_thickness_and_dates,
        good_anonymous,
        good_jitter,
        good_acquisition_numbers,
        good_rle,
    ],
)
def test_what_scanners_do_is_read_right(edit: Any, write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    volume, affine = read_dicom(write_series(tmp_path, edit))
    np.testing.assert_array_equal(volume, hu)
    np.testing.assert_allclose(affine, AFFINE, atol=0.01)


def test_the_order_of_files_does_not_matter(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    for index, name in enumerate([3, 0, 4, 1, 2]):
        (folder / f"slice{index}.dcm").rename(folder / f"IM{name}")
    np.testing.assert_array_equal(read_dicom(folder)[0], hu)


def test_slices_may_run_downwards_and_rows_leftwards(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    def prone(index: int, dataset: Any) -> None:
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]

    volume, affine = read_dicom(write_series(tmp_path, prone))
    np.testing.assert_array_equal(volume, hu[:, :, ::-1])
    np.testing.assert_allclose(affine @ [0, 0, 4, 1], [10, 20, 30, 1])  # voxel of the lowest slice
    np.testing.assert_allclose(affine @ [1, 0, 4, 1], [10.8, 20, 30, 1])


def edit_slice(at: int, **values: Any) -> Callable[[int, Any], None]:
    def edit(index: int, dataset: Any) -> None:
        if index == at:
            for keyword, value in values.items():
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)

    return edit


def edit_all(**values: Any) -> Callable[[int, Any], None]:
    return lambda index, dataset: edit_slice(index, **values)(index, dataset)


def tilt(degrees: float) -> Callable[[int, Any], None]:
    """The gantry leans, the table goes on straight along the body."""
    angle = np.radians(degrees)

    def edit(index: int, dataset: Any) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, round(np.cos(angle), 6), round(-np.sin(angle), 6)]

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edit_all(Modality="MR"), "expected a CT series but found MR"),
        (edit_slice(4, Modality="MR"), "expected Modality CT but got MR"),
        (edit_all(Modality=None), "expected a CT series but found None"),
        (edit_all(SyntheticData="YES"), "synthetic already"),
        (edit_all(NumberOfFrames=2), "multi-frame"),
        (edit_slice(2, RescaleSlope=None), "has no RescaleSlope"),
        (edit_slice(2, RescaleIntercept=None), "has no RescaleIntercept"),
        (edit_all(RescaleType="ED"), "RescaleType is ED"),
        (edit_all(PixelSpacing=None), "has no PixelSpacing"),
        (edit_slice(1, ImagePositionPatient=None), "has no ImagePositionPatient"),
        (edit_all(ImageOrientationPatient=None), "has no ImageOrientationPatient"),
        (edit_all(PixelSpacing=[0, 0.8]), "positive PixelSpacing"),
        (edit_all(ImageOrientationPatient=[1, 0, 0, 0, 2, 0]), "perpendicular unit vectors"),
        (edit_all(ImageOrientationPatient=[1, 0, 0, 0, 1]), "malformed"),
        (edit_slice(3, PixelSpacing=[0.7, 0.81]), "differ in PixelSpacing"),
        (edit_slice(3, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "differ in ImageOrientationPatient"),
        (edit_slice(3, Rows=7, Columns=6), "differ in Rows, Columns"),
        (edit_slice(3, FrameOfReferenceUID="1.2.3"), "differ in FrameOfReferenceUID"),
        (edit_slice(3, SeriesInstanceUID="1.2.3"), r"found 2: number 3 \([14] slices\), number 3 \([14] slices\)"),
        (edit_slice(3, PatientID="2"), "several patients in one series: slice0.dcm and slice3.dcm differ in PatientID"),
        (edit_slice(3, PatientName="B"), "several patients in one series"),
        (edit_slice(3, StudyInstanceUID="1.2.3"), "several studies in one series"),
        (edit_slice(3, TemporalPositionIdentifier=2), "differ in TemporalPositionIdentifier"),
        (edit_slice(1, RescaleSlope=0), "RescaleSlope other than 0"),
        (edit_slice(1, RescaleIntercept="nan"), "finite RescaleIntercept|malformed|has no"),
        (edit_all(HighBit=13, BitsStored=12), "expected HighBit 11 but got 13"),
        (edit_all(PhotometricInterpretation="PALETTE COLOR"), "colour image"),
        (edit_slice(2, ImagePositionPatient=[-10, -20, 35.5]), "uneven slices: 3.00 mm between the positions 32.50"),
        (edit_slice(2, ImagePositionPatient=[-10, -20, 32.5]), "two different slices at position 32.50 mm"),
        (edit_slice(2, ImagePositionPatient=[-10, -19, 35]), "shifted by up to 1.00 mm"),
        (tilt(50), "a gantry tilt of 50.0°, which none has"),
    ],
)
def test_bad_series_are_refused(edit: Any, message: str, write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path, edit)
    for read in (check_dicom, read_dicom):
        with pytest.raises(InputError, match=message) as error:
            read(folder)
        assert str(folder) in str(error.value)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.one_of(st.permutations(range(5)), st.lists(st.integers(0, 4), min_size=5, max_size=5)))
def test_frames_of_reference_are_one_for_all_or_one_for_each(frames: list[int], write_series: Series) -> None:
    def edit(index: int, dataset: Any) -> None:
        dataset.FrameOfReferenceUID = f"1.2.{frames[index] + 1}"

    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        folder = write_series(Path(name), edit)
        if 1 < len(set(frames)) < 5:
            with pytest.raises(InputError, match="differ in FrameOfReferenceUID"):
                check_dicom(folder)
            return
        check_dicom(folder)
    told = [str(item.message) for item in caught if "FrameOfReferenceUID differs in every slice" in str(item.message)]
    assert len(told) == (len(set(frames)) == 5)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda index, dataset: setattr(dataset, "ImagePositionPatient", [-10, -20, 30 + index**2]), "uneven slices"),
        (lambda index, dataset: delattr(dataset, "FrameOfReferenceUID") if index == 2 else None, "differ in FrameOf"),
    ],
)
def test_what_each_frame_of_its_own_does_not_excuse(
    edit: Any, message: str, write_series: Series, tmp_path: Path
) -> None:
    def both(index: int, dataset: Any) -> None:
        dataset.FrameOfReferenceUID = f"1.2.{index + 1}"
        edit(index, dataset)

    with pytest.raises(InputError, match=message):
        check_dicom(write_series(tmp_path, both))


def test_two_slices_of_two_frames_of_reference_are_refused(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path, lambda index, dataset: setattr(dataset, "FrameOfReferenceUID", f"1.2.{index + 1}"))
    for index in (2, 3, 4):
        (folder / f"slice{index}.dcm").unlink()
    with pytest.raises(InputError, match="differ in FrameOfReferenceUID"):
        check_dicom(folder)


@st.composite
def slips(draw: st.DrawFn) -> str:
    """Hounsfield with a letter left out, doubled or swapped with the next, in any case, with or without the unit."""
    word, at = list("hounsfield"), draw(st.integers(1, 8))
    kind = draw(st.sampled_from(["as it is", "left out", "doubled", "swapped"]))
    if kind == "left out":
        del word[at]
    elif kind == "doubled":
        word.insert(at, word[at])
    elif kind == "swapped":
        word[at], word[at + 1] = word[at + 1], word[at]
    text = "".join(word) + draw(st.sampled_from(["", " unit", " Units", "  UNITS", " unit (HU)", "."]))
    return draw(st.sampled_from([str.lower, str.upper, str.title, str]))(text)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    unit=st.one_of(
        slips(),
        st.sampled_from(["Houndsfield Unit", "HOUNDFIELD UNITS", "hu", "H.U.", "HU ", "[hnsf'U]", "Hounsfiled"]),
    )
)
def test_hounsfield_units_however_they_are_spelt(unit: str, write_series: Series) -> None:
    with tempfile.TemporaryDirectory() as name:
        check_dicom(write_series(Path(name), edit_all(RescaleType=unit)))


@pytest.mark.parametrize(
    "unit",
    [
        "HU_MOD",
        "OD",
        "MGML",
        "Z_EFF",
        "ED",
        "EDW",
        "PCT",
        "Modified Hounsfield Unit",
        "HU*10",
        "% of HU",
        "ml/100ml/min",
    ],
)
def test_other_units_are_refused_and_shown(unit: str, write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path, edit_all(RescaleType=unit))
    with pytest.raises(InputError, match=re.escape(f"expected values in HU but RescaleType is {unit}")):
        check_dicom(folder)


def test_a_unit_that_holds_the_patients_name_is_shown_without_it(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path, edit_all(RescaleType="Miller\tmap", PatientName="MILLER^Ann"))
    with pytest.raises(InputError, match=r"RescaleType is \*\*\* map"):
        check_dicom(folder)


@pytest.mark.parametrize("degrees", [1, -20, 30])
def test_a_gantry_tilt_is_kept_as_a_shear(degrees: float, write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=rf"a gantry tilt of {abs(degrees)}\.0°; the affine keeps it"):
        volume, affine = read_dicom(write_series(tmp_path, tilt(degrees)))
    np.testing.assert_array_equal(volume, hu)
    along_rows = 0.7 * np.array([0, -np.cos(np.radians(degrees)), -np.sin(np.radians(degrees))])
    np.testing.assert_allclose(affine[:3], np.c_[AFFINE[:3, 0], along_rows, AFFINE[:3, 2:]], atol=1e-5)


def test_slices_half_a_millimetre_aside_are_refused_and_less_is_told(write_series: Series, tmp_path: Path) -> None:
    for amount in (0.5, -0.5):
        with pytest.raises(InputError, match="shifted by up to 0.50 mm in plane, at 35.00 mm"):
            check_dicom(
                write_series(tmp_path / str(amount), edit_slice(2, ImagePositionPatient=[-10, -20 + amount, 35]))
            )
    with pytest.warns(UserWarning, match="up to 0.05 mm off even positions"):
        check_dicom(write_series(tmp_path / "b", edit_slice(2, ImagePositionPatient=[-10, -20.05, 35])))


def test_two_phases_at_the_same_positions_are_refused(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path, edit_all(AcquisitionNumber=1))
    for path in list(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber = 2
        dataset.SOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"late-{path.name}")
    message = "two different slices at position 30.00 mm: .*; 5 of 10 slices stand .* of the acquisitions 1, 2"
    with pytest.raises(InputError, match=message):
        check_dicom(folder)


def test_two_phases_between_each_others_slices_are_refused(write_series: Series, tmp_path: Path) -> None:
    def alternating(seconds: str) -> Callable[[int, Any], None]:
        def edit(index: int, dataset: Any) -> None:
            dataset.AcquisitionNumber, dataset.AcquisitionTime = 1 + index % 2, ["100000", seconds][index % 2]

        return edit

    with pytest.raises(InputError, match="acquisitions 1 and 2, taken 35 s apart, alternate"):
        check_dicom(write_series(tmp_path / "a", alternating("100035.0")))
    check_dicom(write_series(tmp_path / "b", alternating("100001")))
    check_dicom(write_series(tmp_path / "c", alternating("")))


def test_an_unspecified_unit_is_told(write_series: Series, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="RescaleType is US") as caught:
        check_dicom(write_series(tmp_path, edit_all(RescaleType="US")))
    assert len(caught) == 1


def test_drifting_distances_are_refused(write_series: Series, tmp_path: Path) -> None:
    def drift(index: int, dataset: Any) -> None:
        dataset.ImagePositionPatient = [-10, -20, 30 + 2.5 * index + 0.05 * index**2]

    with pytest.raises(InputError, match="uneven slices"):
        check_dicom(write_series(tmp_path, drift))


def test_a_missing_slice_is_refused(write_series: Series, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    (folder / "slice2.dcm").unlink()
    with pytest.raises(InputError, match=r"uneven slices: 5\.00 mm between the positions 32\.50 and 37\.50"):
        check_dicom(folder)


def test_an_identical_copy_is_dropped_with_a_warning(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    shutil.copy(folder / "slice2.dcm", folder / "copy.dcm")
    with pytest.warns(UserWarning, match="1 identical copies"):
        volume, _ = read_dicom(folder)
    np.testing.assert_array_equal(volume, hu)


def test_a_localizer_is_left_out(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    scout = pydicom.dcmread(folder / "slice0.dcm")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    scout.SOPInstanceUID = generate_uid()
    scout.save_as(folder / "scout.dcm")
    np.testing.assert_array_equal(read_dicom(folder)[0], hu)


def test_other_files_are_left_out_with_a_warning(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    folder = write_series(tmp_path)
    (folder / "readme.txt").write_text("hello")
    with pytest.warns(UserWarning, match="1 of 6 files are no images"):
        volume, _ = read_dicom(folder)
    np.testing.assert_array_equal(volume, hu)


def test_a_single_slice_needs_its_thickness(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    def only(folder: Path) -> Path:
        for index in range(1, 5):
            (folder / f"slice{index}.dcm").unlink()
        return folder

    volume, affine = read_dicom(only(write_series(tmp_path / "a")))
    np.testing.assert_array_equal(volume, hu[:, :, :1])
    assert affine[2, 2] == 5
    with pytest.raises(InputError, match="without SliceThickness"):
        check_dicom(only(write_series(tmp_path / "b", edit_all(SliceThickness=None))))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_slice_cut_anywhere_is_refused(write_series: Series, tmp_path: Path) -> None:
    """Tried on the last slice, whose absence no gap would show."""
    folder = write_series(tmp_path)
    path = folder / "slice4.dcm"
    content = path.read_bytes()
    for length in (*range(0, 420, 3), *range(420, len(content), 17), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match="slice4"):
            read_dicom(folder)


def test_missing_pydicom_is_named(write_series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_series(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(InputError, match=r"needs pydicom: pip install monai-nce\[dicom\]"):
        check_dicom(folder)


def test_no_patient_data_in_messages(write_series: Series, tmp_path: Path) -> None:
    def two(index: int, dataset: Any) -> None:
        dataset.PatientID, dataset.PatientName = f"secret{index % 2}", "secret"
        dataset.SeriesDescription = "secret"

    with pytest.raises(InputError) as error:
        check_dicom(write_series(tmp_path, two))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sliceincrement", "uneven slices: 10.00 mm"),
        ("sliceorientation", "found MR"),
    ],
)
def test_real_bad_series(name: str, message: str, real_data: Path) -> None:
    with pytest.raises(InputError, match=message):
        check_dicom(real_data / "bad_dicom" / name)


def test_a_real_gantry_tilt_is_kept_as_a_shear(real_data: Path) -> None:
    folder = real_data / "bad_dicom" / "gantrytilting"
    with pytest.warns(UserWarning, match=r"a gantry tilt of 14\.0°"):
        series = check_dicom(folder)
    for index, path in enumerate(series.files):
        position = np.array(pydicom.dcmread(path).ImagePositionPatient, float) * [-1, -1, 1]
        np.testing.assert_allclose((series.affine @ [0, 0, index, 1])[:3], position, atol=1e-3)


def test_two_real_orientations(real_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The sample is MR as well; as CT it is refused for its geometry."""
    for path in (real_data / "bad_dicom" / "sliceorientation").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.Modality, dataset.RescaleSlope, dataset.RescaleIntercept = "CT", 1, 0
        dataset.save_as(tmp_path / path.name)
    with pytest.raises(InputError, match="differ in .*ImageOrientationPatient"):
        dicom_reader.check_dicom(tmp_path)


def test_a_truncated_real_jpeg_2000_slice_is_refused(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "cect_abdomen_dicom" / "series").iterdir())[:3]
    for index, path in enumerate(files):
        content = path.read_bytes()
        (tmp_path / str(index)).write_bytes(content[: len(content) // 2] if index == 1 else content)
    with pytest.raises(InputError):
        read_dicom(tmp_path)
