from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.affines import from_matvec
from scipy.spatial.transform import Rotation

from monai_nce.data.itk.reader import check_itk, read_itk
from monai_nce.errors import InputError
from tests.data.itk.itk_files import save_itk

AFFINE = np.array([[-0.7, 0, 0, 12.5], [0, 0, 2.5, -3], [0, 0.8, 0, 100], [0, 0, 0, 1]])
NAMES = ["a.mha", "a.mhd", "a.nrrd", "a.nhdr", "A.MHA"]
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANGLES = st.floats(-180, 180)


def metaimage(path: Path, volume: np.ndarray, *more: str, drop: str = "", data: bytes | None = None) -> Path:
    """Write a header by hand: voxels of 0.5 × 0.6 × 2 mm, columns to the left, rows to the back, slices up."""
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "BinaryData = True",
        "BinaryDataByteOrderMSB = False",
        "TransformMatrix = 1 0 0 0 1 0 0 0 1",
        "Offset = 10 20 30",
        "ElementSpacing = 0.5 0.6 2",
        f"DimSize = {' '.join(map(str, volume.shape))}",
        "ElementType = MET_SHORT",
        "ElementDataFile = LOCAL",
        *more,
    ]
    text = "\n".join(_last_of_each(lines, " =", drop)) + "\n"
    path.write_bytes(text.encode() + (volume.astype("<i2").tobytes(order="F") if data is None else data))
    return path


def _last_of_each(lines: list[str], sign: str, drop: str) -> list[str]:
    fields = {line.split(sign)[0]: line for line in lines}
    fields |= {key: fields.pop(key) for key in ["ElementDataFile"] if key in fields}  # the end of a MetaImage header
    return [line for key, line in fields.items() if key != drop]


def nrrd(path: Path, volume: np.ndarray, *more: str, drop: str = "", data: bytes | None = None) -> Path:
    lines = [
        "type: short",
        "dimension: 3",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, volume.shape))}",
        "space directions: (0.5,0,0) (0,0.6,0) (0,0,2)",
        "space origin: (10,20,30)",
        "encoding: raw",
        "endian: little",
        *more,
    ]
    text = "\n".join(["NRRD0004", *_last_of_each(lines, ":", drop)]) + "\n\n"
    path.write_bytes(text.encode() + (volume.astype("<i2").tobytes(order="F") if data is None else data))
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_what_simple_itk_writes_is_read_as_it_and_nibabel_do(
    name: str, compress: bool, kind: type, hu: np.ndarray, tmp_path: Path
) -> None:
    path = save_itk(tmp_path / name.lower(), hu.astype(kind), AFFINE, compress)
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "b.nii"))
    path = path.rename(tmp_path / name)  # ITK knows no capitals
    volume, affine = read_itk(path)
    assert (volume.dtype, affine.dtype, volume.flags.f_contiguous) == (np.float32, np.float64, True)
    np.testing.assert_array_equal(volume, hu)
    np.testing.assert_allclose(affine, AFFINE, atol=1e-9)
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii").affine, affine, atol=1e-4)
    assert check_itk(path)[0] == hu.shape


@QUICK
@given(
    angles=st.tuples(ANGLES, ANGLES, ANGLES),
    sizes=st.tuples(*[st.floats(0.3, 8)] * 3),
    mirrored=st.booleans(),
    name=st.sampled_from(NAMES[:3]),
)
def test_any_orientation(
    angles: tuple[float, ...], sizes: tuple[float, ...], mirrored: bool, name: str, hu: np.ndarray, tmp_path: Path
) -> None:
    matrix = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * sizes * [-1 if mirrored else 1, 1, 1]
    expected = from_matvec(matrix, [-210.5, 190.25, 1000])
    volume, affine = read_itk(save_itk(tmp_path / name, hu, expected))
    np.testing.assert_array_equal(volume, hu)
    np.testing.assert_allclose(affine, expected, atol=1e-6)


def test_headers_by_hand(hu: np.ndarray, tmp_path: Path) -> None:
    expected = np.array([[-0.5, 0, 0, -10], [0, -0.6, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]])
    big = hu.astype(">i2").tobytes(order="F")
    files = [
        metaimage(tmp_path / "a.mha", hu),
        metaimage(tmp_path / "b.mha", hu, drop="BinaryDataByteOrderMSB"),
        metaimage(tmp_path / "c.mha", hu, "ElementByteOrderMSB = True", drop="BinaryDataByteOrderMSB", data=big),
        nrrd(tmp_path / "a.nrrd", hu),
        nrrd(tmp_path / "b.nrrd", hu, "endian: big", data=big),
        nrrd(tmp_path / "c.nrrd", hu, 'space units: "mm" "mm" "mm"'),
    ]
    for path in files:
        volume, affine = read_itk(path)
        np.testing.assert_array_equal(volume, hu)
        np.testing.assert_allclose(affine, expected)
    # row by row, the directions of the axes
    turned = metaimage(tmp_path / "d.mha", hu, "TransformMatrix = 0 1 0 0 0 -1 1 0 0")
    np.testing.assert_allclose(
        read_itk(turned)[1], np.array([[0, 0, -2, -10], [-0.5, 0, 0, -20], [0, -0.6, 0, 30], [0, 0, 0, 1]])
    )


@pytest.mark.parametrize(("space", "signs"), [("RAS", [1, 1, 1]), ("left-anterior-superior", [-1, 1, 1])])
def test_spaces(space: str, signs: list[int], hu: np.ndarray, tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", hu, f"space: {space}")
    columns = np.array([0.5, 0.6, 2, 0])
    np.testing.assert_allclose(
        read_itk(path)[1],
        np.c_[np.diag(columns)[:, :3] * [[s] for s in (*signs, 0)], np.multiply([10, 20, 30, 1], (*signs, 1))],
    )


def test_a_gantry_tilt_is_kept_as_a_shear(hu: np.ndarray, tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", hu, "space directions: (0.5,0,0) (0,0.6,0) (0,0.3,2)")
    np.testing.assert_allclose(read_itk(path)[1][:3, 2], [0, -0.3, 2], atol=1e-9)


@pytest.mark.parametrize(
    ("more", "drop", "message"),
    [
        ((), "TransformMatrix", "has no orientation"),
        ((), "ElementSpacing", "has no size of its voxels"),
        (("DistanceUnits = um",), "", "expected millimetres but the header says um"),
        (("BinaryData = False",), "", "stored as text"),
        (("HeaderSize = 512",), "", "skips a header"),
        (("ElementType = MET_SHORT_ARRAY", "ElementNumberOfChannels = 3"), "", "voxels of 3 values"),
        (("NDims = 4", "DimSize = 7 6 5 2"), "", "not a readable|three-dimensional"),
        (("DimSize = 70000 70000 70000",), "", "more than this program takes|not a readable"),
        (("DimSize = 7 6 6",), "", r"truncated or damaged \(expected 504 bytes of voxels but got 420\)"),
        (("DimSize = 70 600 4",), "", "truncated or damaged"),
        (("ElementSpacing = 0 0.6 2",), "", "singular|expected voxels|not a readable"),
        (("TransformMatrix = 1 0 0 1 0 0 0 0 1",), "", "singular|not a readable"),
        (("Comment = SYNTHETIC, made by monai-nce",), "", "synthetic already"),
        (("ElementDataFile = LIST",), "", "in one file beside it but got 'LIST'"),
        (("ElementDataFile = slice%03d.raw 1 5 1",), "", "in one file beside it"),
        (("ElementDataFile = ../../etc/passwd",), "", "in one file beside it"),
        (("ElementDataFile = b.raw",), "", "its voxels are missing: no file b.raw beside it"),
    ],
)
def test_bad_metaimages_are_refused(
    more: tuple[str, ...], drop: str, message: str, hu: np.ndarray, tmp_path: Path
) -> None:
    path = metaimage(tmp_path / "a.mha", hu, *more, drop=drop)
    with pytest.raises(InputError, match=rf"a\.mha: .*({message})") as error:
        read_itk(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("more", "drop", "message"),
    [
        ((), "space", "has no orientation|not a readable"),
        ((), "space directions", "has no size of its voxels|not a readable"),
        (("space: scanner-xyz",), "", "expected a space such as left-posterior-superior but got scanner-xyz"),
        (('space units: "cm" "cm" "cm"',), "", "expected millimetres but the header says cm"),
        (("encoding: ascii",), "", "expected voxels in the encoding raw or gzip but got ascii"),
        (("byte skip: -1",), "", "skips a header"),
        (("data file: sub/a.raw",), "", "in one file beside it"),
        (("sizes: 7 6 6",), "", "truncated or damaged"),
        (("sizes: 70000 70000 70000",), "", "more than this program takes"),
        (("type: block",), "", "not a readable|real numbers"),
        (("descrip:=SYNTHETIC, made by monai-nce",), "", "synthetic already"),
    ],
)
def test_bad_nrrds_are_refused(more: tuple[str, ...], drop: str, message: str, hu: np.ndarray, tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.nrrd", hu, *more, drop=drop)
    with pytest.raises(InputError, match=rf"a\.nrrd: .*({message})"):
        read_itk(path)


@pytest.fixture
def large() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1500, size=(50, 60, 4)).astype(np.int16)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("compress", [False, True])
@QUICK
@given(at=st.integers(1, 20000))
def test_a_file_cut_anywhere_is_refused(name: str, compress: bool, at: int, large: np.ndarray, tmp_path: Path) -> None:
    path = save_itk(tmp_path / name, large, AFFINE, compress)
    content = path.read_bytes()
    path.write_bytes(content[: -min(at, len(content))])
    with pytest.raises(InputError, match=name):
        read_itk(path)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("at", [-200, -3])
def test_a_wrong_checksum_is_refused(name: str, at: int, large: np.ndarray, tmp_path: Path) -> None:
    """Which ITK lets pass, with a line on the console for one of them."""
    path = save_itk(tmp_path / name, large, AFFINE, compress=True)
    content = bytearray(path.read_bytes())
    content[at] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_itk(path)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
@pytest.mark.parametrize("compress", [False, True])
def test_more_slices_than_the_header_says_are_refused(
    name: str, compress: bool, large: np.ndarray, tmp_path: Path
) -> None:
    more = large.tobytes(order="F") + bytes(50 * 60 * 2)
    if name == "a.mha":
        data = zlib.compress(more) if compress else more
        path = metaimage(tmp_path / name, large, f"CompressedData = {compress}", data=data)
    else:
        data = gzip.compress(more) if compress else more
        path = nrrd(tmp_path / name, large, f"encoding: {'gzip' if compress else 'raw'}", data=data)
    with pytest.raises(InputError, match=rf"{name}: holds more data than its header says"):
        read_itk(path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("content", [b"", b"no scan at all", b"NRRD0004\n", b"ObjectType = Image\n", bytes(400)])
def test_what_is_no_image_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_itk(tmp_path / name)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: "):
        read_itk(tmp_path / name)


def test_real_labels(real_data: Path) -> None:
    path = real_data / "labels" / "spl_abdominal_atlas" / "seg.nrrd"
    volume, affine = read_itk(path)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(volume, sitk.GetArrayViewFromImage(image).transpose(2, 1, 0))
    corner = image.TransformIndexToPhysicalPoint([255, 255, 112])
    np.testing.assert_allclose((affine @ [255, 255, 112, 1])[:3], np.multiply(corner, [-1, -1, 1]), atol=1e-6)
