"""Enhanced multi-frame CT, with highdicom as the reference where it can be one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from monai_nce.data.dicom.reader import check_dicom, read_dicom
from monai_nce.errors import InputError

ORDER = (3, 0, 4, 1, 2)  # slice of each frame
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])  # RAS
Write = Callable[..., Path]


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture
def write_enhanced(hu: np.ndarray) -> Write:
    """``write_enhanced(path, edit=…)``: ``hu`` in one file, frames out of order, each with its own intercept."""

    def write(path: Path, edit: Callable[[Any], None] | None = None, tilt: float = 0.0) -> Path:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        columns, rows, slices = hu.shape
        dataset = item(
            SOPClassUID=EnhancedCTImageStorage,
            SOPInstanceUID=meta.MediaStorageSOPInstanceUID,
            PatientID="1",
            PatientName="",
            PatientBirthDate="",
            PatientSex="",
            StudyID="",
            StudyDate="",
            StudyTime="",
            AccessionNumber="",
            ReferringPhysicianName="",
            Modality="CT",
            ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            StudyInstanceUID=generate_uid(),
            SeriesInstanceUID=generate_uid(),
            FrameOfReferenceUID=generate_uid(),
            SeriesNumber=3,
            InstanceNumber=1,
            NumberOfFrames=slices,
            Rows=rows,
            Columns=columns,
            SamplesPerPixel=1,
            PhotometricInterpretation="MONOCHROME2",
            BitsAllocated=16,
            BitsStored=16,
            HighBit=15,
            PixelRepresentation=0,
            PixelData=np.stack([hu[:, :, k].T + 1024 + k for k in ORDER]).astype("<u2").tobytes(),
        )
        angle = np.radians(tilt)
        orientation = [1, 0, 0, 0, np.cos(angle), -np.sin(angle)]
        dataset.SharedFunctionalGroupsSequence = [
            item(
                PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.8], SliceThickness=5)],
                PlaneOrientationSequence=[item(ImageOrientationPatient=orientation)],
            )
        ]
        dataset.PerFrameFunctionalGroupsSequence = [
            item(
                PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, 30 + 2.5 * k])],
                PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1024 - k, RescaleType="HU")],
                FrameContentSequence=[item(DimensionIndexValues=[k + 1])],
            )
            for k in ORDER
        ]
        organisation = generate_uid()
        dataset.DimensionOrganizationSequence = [item(DimensionOrganizationUID=organisation)]
        dataset.DimensionIndexSequence = [
            item(
                DimensionOrganizationUID=organisation,
                DimensionIndexPointer=0x00200032,
                FunctionalGroupPointer=0x00209113,
            )
        ]
        dataset.file_meta = meta
        if edit:
            edit(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


def test_frames_come_in_order_of_position_as_with_highdicom(
    write_enhanced: Write, hu: np.ndarray, tmp_path: Path
) -> None:
    path = write_enhanced(tmp_path / "a.dcm")
    volume, affine = read_dicom(path)
    np.testing.assert_array_equal(volume, hu)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-6)

    theirs = highdicom.imread(path).get_volume(apply_modality_transform=True)
    for voxel in np.ndindex(theirs.spatial_shape):
        world = theirs.affine @ [*voxel, 1] * [-1, -1, 1, 1]
        index = np.rint(np.linalg.solve(affine, world))[:3].astype(int)
        assert theirs.array[voxel] == volume[tuple(index)]


def test_a_tilt_is_kept_which_highdicom_drops(write_enhanced: Write, tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", tilt=1)
    with pytest.warns(UserWarning, match=r"a gantry tilt of 1\.0°"):
        series = check_dicom(path)
    np.testing.assert_allclose(series.affine[:3, 2], [0, 0, 2.5], atol=1e-9)
    theirs = highdicom.imread(path).get_volume()
    across = theirs.affine[:3, 0]
    assert abs(abs(across[1]) - 2.5 * np.sin(np.radians(1))) < 1e-3  # the normal, not the step


def test_compressed_frames(write_enhanced: Write, hu: np.ndarray, tmp_path: Path) -> None:
    path = write_enhanced(tmp_path / "a.dcm", lambda d: d.compress(RLELossless, generate_instance_uid=False))
    np.testing.assert_array_equal(read_dicom(path)[0], hu)


def test_a_series_in_several_multi_frame_files(write_enhanced: Write, hu: np.ndarray, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_enhanced(tmp_path / "whole.dcm"))
    frames, pixels = list(dataset.PerFrameFunctionalGroupsSequence), dataset.pixel_array
    for name, part in (("a", slice(0, 2)), ("b", slice(2, 5))):
        dataset.PerFrameFunctionalGroupsSequence = frames[part]
        dataset.NumberOfFrames = len(frames[part])
        dataset.PixelData = pixels[part].tobytes()
        (tmp_path / "parts").mkdir(exist_ok=True)
        dataset.save_as(tmp_path / "parts" / f"{name}.dcm")
    np.testing.assert_array_equal(read_dicom(tmp_path / "parts")[0], hu)


def same_position_twice(dataset: Any) -> None:
    dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0].ImagePositionPatient = [-10, -20, 37.5]


def no_slope(dataset: Any) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[2].PixelValueTransformationSequence


def one_frame_missing(dataset: Any) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[4]


def pixels_missing(dataset: Any) -> None:
    dataset.PixelData = dataset.PixelData[:-84]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (same_position_twice, "two different slices at position 37.50 mm: a.dcm, frame 1 and a.dcm, frame 2"),
        (no_slope, "has no RescaleSlope"),
        (one_frame_missing, "functional groups for 5 frames but got 4"),
        (pixels_missing, "cannot be decoded|expected 5 frames but got 4"),
    ],
)
def test_bad_multi_frame_files_are_refused(edit: Any, message: str, write_enhanced: Write, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_dicom(write_enhanced(tmp_path / "a.dcm", edit))
