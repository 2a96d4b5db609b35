from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, EnsureChannelFirstd, Invertd, LoadImage, LoadImaged, Orientationd, Spacingd

from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.data.scans.reader import CTReader, check_mri, check_volume, find_volumes, read_ct, read_mri
from monai_nce.errors import InputError
from monai_nce.phantom import make_phantom_patient
from monai_nce.transforms import InPlaneSpacingd
from tests.data.itk.itk_files import save_itk

Series = Callable[..., Path]
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])  # of write_series


def test_dicom_and_nifti_of_one_volume_agree(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "a.nii.gz", hu, AFFINE)
    nifti, dicom = read_ct(tmp_path / "a.nii.gz"), read_ct(write_series(tmp_path / "series"))
    np.testing.assert_array_equal(nifti[0], dicom[0])
    np.testing.assert_allclose(nifti[1], dicom[1], atol=1e-5)
    load = Compose(
        [LoadImaged("image", reader=CTReader), EnsureChannelFirstd("image"), Orientationd("image", "RAS", None)]
    )
    turned = [load({"image": path})["image"] for path in (tmp_path / "a.nii.gz", tmp_path / "series")]
    np.testing.assert_array_equal(turned[0], turned[1])
    np.testing.assert_array_equal(turned[0][0], hu[::-1, ::-1])
    np.testing.assert_allclose(turned[0].affine, turned[1].affine, atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_padding_becomes_air(suffix: str, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / f"a{suffix}", np.array([-3024, -32768, -1025, -1000, 40, 3071]).reshape(1, 2, 3), AFFINE)
    volume = read_ct(tmp_path / f"a{suffix}")[0]
    assert volume.ravel().tolist() == [-1024, -1024, -1024, -1000, 40, 3071]


def test_padding_becomes_air_in_dicom(write_series: Series, tmp_path: Path) -> None:
    def padded(index: int, dataset: Any) -> None:
        dataset.RescaleIntercept = -3024

    assert read_ct(write_series(tmp_path, padded))[0].min() == -1024


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([-1000, 40, np.nan], "NaN or infinite"),
        ([-1000, 40, np.inf], "NaN or infinite"),
        ([-np.inf, 40, 0], "NaN or infinite"),
        ([-1000, -1000, -1000], "every voxel is -1000"),
        ([0, 52, 117], "cannot be Hounsfield units"),  # labels
        ([0, 0.5, 1], "cannot be Hounsfield units"),
        ([24, 1064, 4095], "cannot be Hounsfield units"),  # without its intercept
        ([-1000, 40, 65436], "cannot be Hounsfield units"),  # a sign lost
    ],
)
def test_values_that_cannot_be_hu_are_refused(values: list[float], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.array(values, np.float32).reshape(1, 1, 3), AFFINE), path)
    with pytest.raises(InputError, match=message):
        read_ct(path)


def test_shares_decide_where_there_are_voxels_enough(tmp_path: Path) -> None:
    patient = make_phantom_patient(0, size=32, slices=4)
    write_nifti_hu(tmp_path / "ct.nii.gz", patient.nect, patient.affine)
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz")[0], patient.nect)
    raw = np.maximum(patient.nect + 1024, 0)
    raw[0, 0, 0] = -1
    write_nifti_hu(tmp_path / "raw.nii.gz", raw, patient.affine)
    with pytest.raises(
        InputError, match=r"raw.nii.gz: values from -1 to \d+ cannot be Hounsfield units: \d+% lie from 850"
    ):
        read_ct(tmp_path / "raw.nii.gz")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_orientation_comes_back_through_monai(
    order: tuple[int, ...], signs: tuple[int, ...], hu: np.ndarray, tmp_path: Path
) -> None:
    """There by Orientationd and Spacingd, and back by Invertd onto the voxels of the input."""
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[list(order)] * signs * np.array([0.7, 0.8, 2.5])
    affine[:3, 3] = 11, -7, 5
    write_nifti_hu(tmp_path / "a.nii", hu, affine)
    there = Compose(
        [
            LoadImaged("image", reader=CTReader()),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", None),
        ]
    )
    data = there({"image": tmp_path / "a.nii"})
    image = data["image"]
    assert image.affine.dtype == torch.float64
    assert (np.diag(image.affine)[:3] > 0).all()
    voxel = np.array([5, 2, 4])
    world = (affine @ np.append(voxel, 1))[:3]
    index = np.rint(np.linalg.solve(image.affine, np.append(world, 1)))[:3].astype(int)
    assert image[0][tuple(index)] == hu[tuple(voxel)]
    back = Invertd("image", there)(data)["image"]
    np.testing.assert_array_equal(back[0], hu)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)


def test_resampling_can_be_inverted(write_series: Series, tmp_path: Path) -> None:
    there = Compose(
        [
            LoadImaged("image", reader=CTReader()),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", None),
            Spacingd("image", (0.4, 0.35, 2.5)),
        ]
    )
    data = there({"image": write_series(tmp_path)})
    back = Invertd("image", there)(data)["image"]
    assert back.shape == (1, 7, 6, 5)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*gantry tilt")
@pytest.mark.parametrize("degrees", [1, 20])
def test_a_gantry_tilt_goes_through_monai_and_back(degrees: float, write_series: Series, tmp_path: Path) -> None:
    """In plane only, as inference does it, so that each slice stays where it is."""
    angle = np.radians(degrees)

    def tilted(index: int, dataset: Any) -> None:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, round(np.cos(angle), 8), round(-np.sin(angle), 8)]

    there = Compose(
        [
            LoadImaged("image", reader=CTReader()),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", None),
            InPlaneSpacingd("image", 0.5),
        ]
    )
    folder = write_series(tmp_path, tilted)
    volume, affine = read_ct(folder)
    data = there({"image": folder})
    np.testing.assert_allclose(data["image"].affine[:3, 2], [0, 0, 2.5], atol=1e-6)  # the step, not the normal
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    assert np.degrees(np.arccos(normal[2] / np.linalg.norm(normal))) == pytest.approx(degrees, abs=1e-3)
    back = Invertd("image", there)(data)["image"]
    np.testing.assert_allclose(back.affine, affine, atol=1e-6)
    assert back.shape[1:] == volume.shape
    write_nifti_hu(tmp_path / "a.nii", back[0], back.affine)
    again = read_ct(tmp_path / "a.nii")
    np.testing.assert_allclose(again[1], affine, atol=1e-5)
    assert nib.load(tmp_path / "a.nii").header["qform_code"] == 0


def test_metadata_holds_geometry_alone(write_series: Series, tmp_path: Path) -> None:
    image = LoadImage(reader=CTReader())(write_series(tmp_path))
    assert sorted(map(str, image.meta)) == [
        "affine",
        "filename_or_obj",
        "original_affine",
        "original_channel_dim",
        "space",
        "spatial_shape",
    ]


@pytest.mark.parametrize("reader", [CTReader, CTReader()])
def test_a_refusal_comes_through_load_image(reader: object, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_text("hello")
    with pytest.raises(InputError, match=r"a\.nii\.gz: not a readable NIfTI file"):
        LoadImage(reader=reader)(tmp_path / "a.nii.gz")
    with pytest.raises(RuntimeError) as error:
        Compose([LoadImaged("image", reader=reader)])({"image": tmp_path / "a.nii.gz"})
    assert isinstance(error.value.__cause__, InputError)
    with pytest.raises(InputError, match="no such file"):
        LoadImage(reader=reader)(tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match="expected one volume but got 2"):
        LoadImage(reader=reader)([tmp_path / "b.nii.gz", tmp_path / "c.nii.gz"])


def test_suffixes(tmp_path: Path) -> None:
    reader = CTReader()
    assert reader.verify_suffix("a.nii.gz") and reader.verify_suffix(tmp_path)
    (tmp_path / "slice").write_bytes(bytes(128) + b"DICM")
    assert reader.verify_suffix([tmp_path / "slice", tmp_path / "slice"])
    assert not reader.verify_suffix("a.png")


def test_find_volumes(write_series: Series, tmp_path: Path) -> None:
    nifti, dicom = tmp_path / "nifti", tmp_path / "dicom"
    for name in ("b.nii.gz", "sub/a.nii", ".hidden.nii", "notes.txt"):
        (nifti / name).parent.mkdir(parents=True, exist_ok=True)
        (nifti / name).write_text("x")
    write_series(dicom / "2")
    write_series(dicom / "1")

    def paths(path: Path) -> list[Path]:
        return [volume.path for volume in find_volumes(path)]

    assert paths(nifti / "b.nii.gz") == [nifti / "b.nii.gz"]
    assert paths(nifti) == [nifti / "b.nii.gz", nifti / "sub" / "a.nii"]
    assert paths(dicom / "1") == [dicom / "1"]
    assert paths(dicom / "1" / "slice0.dcm") == [dicom / "1" / "slice0.dcm"]
    assert paths(dicom) == [dicom / "1", dicom / "2"]
    for path, message in (
        (tmp_path, "NIfTI files and DICOM series"),
        (tmp_path / "none", "no such file or folder"),
        (nifti / "notes.txt", "holds neither NIfTI, MetaImage, NRRD nor DICOM$"),
    ):
        with pytest.raises(InputError, match=message):
            find_volumes(path)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd"])
def test_metaimage_and_nrrd_go_the_way_of_nifti(name: str, tmp_path: Path) -> None:
    patient = make_phantom_patient(0, size=32, slices=4)
    path = save_itk(tmp_path / name, patient.nect.astype(np.int16), patient.affine)
    write_nifti_hu(tmp_path / "nifti" / "a.nii", patient.nect, patient.affine)
    for found in find_volumes(path), find_volumes(tmp_path)[:1]:
        np.testing.assert_array_equal(read_ct(found[0])[0], read_ct(tmp_path / "nifti" / "a.nii")[0])
    shape, affine = check_volume(path)
    assert shape == patient.nect.shape
    np.testing.assert_allclose(affine, patient.affine, atol=1e-5)
    assert CTReader().verify_suffix(path)
    image = LoadImage(reader=CTReader())(path)
    np.testing.assert_array_equal(image, patient.nect)
    np.testing.assert_allclose(image.affine, patient.affine, atol=1e-5)
    raw = save_itk(tmp_path / "raw" / name, patient.nect.astype(np.int16) + 1024, patient.affine)
    with pytest.raises(InputError, match=rf"{name}: values from \d+ to \d+ cannot be Hounsfield units"):
        read_ct(raw)


def test_mr_from_metaimage(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 400, (8, 9, 4)).astype(np.uint16)
    write_nifti_hu(tmp_path / "a.nii", values, AFFINE)
    mri = [read_mri(path) for path in (save_itk(tmp_path / "a.mha", values, AFFINE), tmp_path / "a.nii")]
    np.testing.assert_array_equal(mri[0][0], mri[1][0])


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0, 0.004), depth=st.floats(0.01, 1), wide=st.floats(0.02, 0.3))
def test_what_interpolation_undershoots_at_edges_is_mr_and_hu_are_not(share: float, depth: float, wide: float) -> None:
    values = np.linspace(0, 400, 20000, dtype=np.float32)
    values[: int(share * values.size)] = -depth * 400
    assert check_mri(Path("t1.nii"), values) == pytest.approx(398, rel=0.01)
    values[: int(wide * values.size)] = -max(depth, 0.2) * 400
    with pytest.raises(InputError, match=r"^t1\.nii: expected MR intensities, from 0 up, but got values from -"):
        check_mri(Path("t1.nii"), values)


def test_metaimages_beside_dicom_are_left_out_as_before(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    write_series(tmp_path / "ct")
    save_itk(tmp_path / "dose.mha", hu, AFFINE)
    with pytest.warns(UserWarning, match="1 MetaImage or NRRD files beside DICOM series; left out"):
        assert [volume.path.name for volume in find_volumes(tmp_path)] == ["ct"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.dcm.gz",
            gzip.compress(bytes(128) + b"DICM" + bytes(9)),
            "it is a DICOM file packed by gzip: unpack it first",
        ),
        ("a.hdr", (348).to_bytes(4, "little") + bytes(344), "it is an Analyze image, without left and right: convert"),
        ("a.zip", b"PK\3\4" + bytes(99), "it is a ZIP archive: unpack it"),
    ],
)
def test_what_to_do_is_said_where_nothing_is_found(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: expected CT but holds neither .*: {message}"):
        find_volumes(tmp_path / name)
    with pytest.raises(InputError, match=rf"holds neither .*: {message.replace('it is', f'{name} is')}"):
        find_volumes(tmp_path)
    with pytest.raises(InputError, match=message):
        read_ct(tmp_path / name)


def test_other_modalities_are_left_out_with_a_warning(write_series: Series, tmp_path: Path) -> None:
    def mr(index: int, dataset: Any) -> None:
        dataset.Modality = "MR"

    write_series(tmp_path / "mr", mr)
    with pytest.raises(InputError, match="expected CT but found MR"):
        find_volumes(tmp_path)
    write_series(tmp_path / "ct")
    with pytest.warns(UserWarning, match="1 of 2 DICOM series are not CT"):
        assert [volume.path.name for volume in find_volumes(tmp_path)] == ["ct"]
    assert read_ct(tmp_path)[0].shape == (7, 6, 5)


def test_each_series_of_a_folder_can_be_read_alone(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    def shifted(index: int, dataset: Any) -> None:
        dataset.RescaleIntercept, dataset.SeriesNumber = -1000, 4

    folder = write_series(tmp_path / "a")
    for path in write_series(tmp_path / "b", shifted).iterdir():
        path.rename(folder / f"other-{path.name}")
    for found, more in zip(find_volumes(folder), (0, 24), strict=True):
        for source in (found, found.files, [str(path) for path in found.files]):
            np.testing.assert_array_equal(read_ct(source)[0], hu + more)
        image = LoadImage(reader=CTReader())([str(path) for path in found.files])
        np.testing.assert_array_equal(image, hu + more)
    with pytest.raises(InputError, match="found 2: number 3 .5 slices., number 4 .5 slices."):
        read_ct(folder)
    with pytest.raises(InputError, match="none"):
        read_ct([])


def test_no_volume_in_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither NIfTI, MetaImage, NRRD nor DICOM"):
        find_volumes(tmp_path / "empty")


def test_check_volume_refuses_before_any_work(write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    write_nifti_hu(tmp_path / "good.nii.gz", hu, AFFINE)
    check_volume(tmp_path / "good.nii.gz")
    check_volume(write_series(tmp_path / "series"))
    (tmp_path / "bad.nii.gz").write_text("hello")
    for path in ("bad.nii.gz", "none.nii.gz"):
        with pytest.raises(InputError, match=path):
            check_volume(tmp_path / path)
    (tmp_path / "series" / "slice2.dcm").unlink()
    with pytest.raises(InputError, match="uneven"):
        check_volume(tmp_path / "series")


@pytest.mark.parametrize(
    ("volume", "organs", "means"),
    [
        ("nect_abdomen/ct.nii.gz", "nect_abdomen/organs.nii.gz", {5: 45, 52: 42}),
        ("cect_abdomen_dicom/series", "cect_abdomen_dicom/organs.nii.gz", {5: 89, 52: 177, 64: 130}),
    ],
)
def test_real_scans_have_the_right_hu_at_the_right_place(
    volume: str, organs: str, means: dict[int, float], real_data: Path
) -> None:
    image = nib.as_closest_canonical(nib.Nifti1Image(*read_ct(real_data / volume)))
    labels = nib.as_closest_canonical(nib.load(real_data / organs))
    np.testing.assert_allclose(image.affine, labels.affine, atol=1e-4)
    for label, mean in means.items():
        assert image.get_fdata()[np.asarray(labels.dataobj) == label].mean() == pytest.approx(mean, abs=1)
