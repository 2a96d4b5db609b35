from __future__ import annotations

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_nce.data.nifti.reader import check_nifti, read_nifti
from monai_nce.errors import InputError

AFFINE = np.array([[-0.7, 0, 0, 12.5], [0, 0.8, 0, -3], [0, 0, 2.5, 100], [0, 0, 0, 1]])


@pytest.fixture
def large() -> np.ndarray:
    """More than nibabel reads to recognise a file, so that only reading to the end finds the damage."""
    return np.random.default_rng(0).integers(-1000, 1500, size=(40, 40, 40)).astype(np.int16)


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, units: str = "mm", codes: int = 1) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units(units)
    image.set_sform(affine, code=codes)
    image.set_qform(affine, code=codes)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".NII.GZ"])
@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float32, np.float64, ">i2"])
def test_values_and_affine(suffix: str, kind: str, hu: np.ndarray, tmp_path: Path) -> None:
    values = np.abs(hu)
    volume, affine = read_nifti(save(tmp_path / f"a{suffix}", values.astype(kind)))
    assert volume.dtype == np.float32
    assert affine.dtype == np.float64
    np.testing.assert_array_equal(volume, values)
    np.testing.assert_allclose(affine, AFFINE, rtol=1e-6)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.full((2, 2, 2), 1000, np.int16))
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", 0.5, -1024)
    path.write_bytes(content)
    assert (read_nifti(path)[0] == -524).all()


def test_nifti_2_and_trailing_single_axes_are_read(hu: np.ndarray, tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(hu[..., None, None], AFFINE), tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz")[0], hu)


def test_an_sform_alone_is_enough(hu: np.ndarray, tmp_path: Path) -> None:
    image = nib.Nifti1Image(hu, AFFINE)
    image.header["qform_code"] = 0
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "a.nii")[1], AFFINE, rtol=1e-6)


def header(offset: int, content: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[offset : offset + len(content)] = content
        path.write_bytes(gzip.compress(bytes(raw)))

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b""), "empty file"),
        (lambda path: path.write_text("this is text " * 100), "not a readable NIfTI"),
        (lambda path: path.write_bytes(gzip.compress(b"this is text " * 100)), "not a readable NIfTI"),
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "not a readable NIfTI"),
        (header(40, struct.pack("<4h", 3, 30000, 30000, 30000)), "more than this program takes"),
        (header(40, struct.pack("<4h", 3, 7, -6, 5)), "not a readable|expected one three-dim"),
        (header(40, struct.pack("<3h", 2, 7, 30)), "expected one three-dimensional volume"),
        (header(123, bytes([1])), "expected millimetres but the header says meter"),
        (header(123, bytes([7])), "not a valid NIfTI header"),
        (header(252, struct.pack("<2h", 0, 0)), "no orientation"),
        (header(280, bytes(16)), "singular or not finite"),
        (header(280, struct.pack("<f", np.nan)), "singular or not finite"),
    ],
)
def test_bad_headers_are_refused_before_any_work(
    spoil: Callable[[Path], None], message: str, hu: np.ndarray, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.nii.gz", hu)
    spoil(path)
    for read in (check_nifti, read_nifti):
        with pytest.raises(InputError, match=message) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_unknown_units_are_accepted(hu: np.ndarray, tmp_path: Path) -> None:
    check_nifti(save(tmp_path / "a.nii", hu, units="unknown"))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 2), (2, 3, 4, 1, 3)])
def test_other_dimensions_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected one three-dimensional volume"):
        check_nifti(save(tmp_path / "a.nii", np.zeros(shape, np.int16)))


@pytest.mark.parametrize("kind", [np.complex64, [("R", "u1"), ("G", "u1"), ("B", "u1")]])
def test_other_numbers_are_refused(kind: object, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((2, 3, 4), kind), AFFINE), tmp_path / "a.nii")
    with pytest.raises(InputError, match="expected real numbers"):
        check_nifti(tmp_path / "a.nii")


def test_a_truncated_plain_file_is_refused(hu: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", hu)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_nifti(path)


@pytest.mark.parametrize("cut", [1, 8, 9, 100])  # the last eight bytes are checksum and length
def test_a_truncated_gzip_is_refused(cut: int, large: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", large)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_nifti(path)


@pytest.mark.parametrize("at", [-200, -6])
def test_a_wrong_checksum_is_refused(at: int, large: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", large)
    content = bytearray(path.read_bytes())
    content[at] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_nifti(path)


def test_a_gzip_that_unpacks_without_end_is_refused(hu: np.ndarray, tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", hu)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(2**22)))
    with pytest.raises(InputError, match=r"a\.nii\.gz: holds more data than its header says$"):
        read_nifti(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slices=st.integers(1, 12), more=st.floats(0, 3), kind=st.sampled_from(["<i2", "<f4"]))
def test_more_slices_than_the_header_says_are_refused_packed_or_not(
    suffix: str, slices: int, more: float, kind: str, tmp_path: Path
) -> None:
    """As of a 4-D series whose header was cut to three dimensions, or of a slice that it leaves out."""
    path = save(tmp_path / f"a{suffix}", np.ones((50, 60, slices), kind))
    extra = bytes(int(more * 50 * 60 * np.dtype(kind).itemsize))
    if suffix == ".nii":
        path.write_bytes(path.read_bytes() + extra)
    else:
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + extra, 1))
    if more < 1:  # what follows is less than a slice, whatever it is
        read_nifti(path)
        return
    with pytest.raises(InputError, match="holds more data than its header says"):
        read_nifti(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@given(offset=st.one_of(st.integers(-400, 351), st.sampled_from([352.5, np.nan, np.inf])))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_voxels_that_begin_within_the_header_are_refused(
    suffix: str, offset: float, hu: np.ndarray, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.nii.gz", hu)
    header(108, struct.pack("<f", offset))(path)
    if suffix == ".nii":
        path = path.replace(tmp_path / "a.nii")
        path.write_bytes(gzip.decompress(path.read_bytes()))
    with pytest.raises(InputError, match=r"the header says that the voxels begin at byte \S+, which is not behind it"):
        read_nifti(path)


def huge(path: Path) -> None:
    """NIfTI-2, since the first version's sizes end at 32767."""
    header = nib.Nifti2Header()
    header["dim"][:4], header["vox_offset"] = (3, 60000, 60000, 60000), 544
    header["sform_code"], header["srow_x"][0], header["srow_y"][1], header["srow_z"][2] = 1, 1, 1, 1
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4 + 1000)))


def bomb(path: Path) -> None:
    """Two gibibytes of zeros behind a header that says so."""
    header = nib.Nifti1Header()
    header["dim"][:4] = 3, 1024, 1024, 1024
    header["bitpix"], header["datatype"], header["vox_offset"], header["sform_code"] = 16, 4, 352, 1
    header["srow_x"][0], header["srow_y"][1], header["srow_z"][2], header["magic"] = 1, 1, 1, b"n+1"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(64):
            file.write(bytes(2**20))


def extension_bomb(path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    nib.save(image, path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[352:356] = struct.pack("<i", 2**31 - 1)
    path.write_bytes(gzip.compress(bytes(raw)))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (huge, "more than this program takes"),
        (bomb, "compressed bytes are not taken to hold"),
        (extension_bomb, "an extension of its header says that it has 2147483647 bytes"),
    ],
)
def test_what_a_header_claims_costs_no_memory(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.nii.gz")
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=message):
            read_nifti(tmp_path / "a.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_extensions_are_let_pass(hu: np.ndarray, tmp_path: Path) -> None:
    image = nib.Nifti1Image(hu, AFFINE)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 100))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz")[0], hu)
