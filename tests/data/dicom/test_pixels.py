from __future__ import annotations

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
from pydicom.dataset import FileMetaDataset
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from monai_nce.data.dicom.pixels import NoPixels, check_overlays, slice_hu
from monai_nce.data.dicom.reader import read_dicom
from monai_nce.errors import InputError

Series = Callable[..., Path]
HERE = Path("a.dcm")
QUICK = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def hu() -> np.ndarray:
    """Larger than the other tests' volume, since the JPEG 2000 encoder wants 32 pixels."""
    return np.random.default_rng(0).integers(-1000, 1500, size=(34, 40, 3)).astype(np.int16)


def header(bits: int = 16, signed: int = 0, **values: Any) -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation = 16, bits, signed
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def tissue(seed: int = 0, low: int = 900, high: int = 1200) -> np.ndarray:
    """Stored values of soft tissue, with an intercept of -1024."""
    return np.random.default_rng(seed).integers(low, high, size=(40, 50)).astype(np.uint16)


def rescaled(dataset: pydicom.Dataset, stored: np.ndarray, intercept: float = -1024) -> tuple[np.ndarray, NoPixels]:
    seen = NoPixels()
    return slice_hu(HERE, dataset, stored, 1, intercept, seen), seen


@QUICK
@given(
    bits=st.integers(12, 15),
    spare=st.integers(0, 3),
    signed=st.booleans(),
    syntax=st.sampled_from([None, RLELossless, JPEG2000Lossless, JPEGLSLossless]),
)
def test_overlay_bits_are_no_pixels_whatever_the_syntax(
    bits: int, spare: int, signed: bool, syntax: Any, write_series: Series, hu: np.ndarray
) -> None:
    overlay = 1 << min(bits + spare, 15)

    def edit(index: int, dataset: Any) -> None:
        stored = hu[:, :, index].T.astype(int) + (0 if signed else 1024)
        stored &= (1 << bits) - 1  # negative values without the bits above, as some writers leave them
        stored[5:20, 7:30] |= overlay
        dataset.PixelData = stored.astype("<u2").tobytes()
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
        dataset.RescaleIntercept = 0 if signed else -1024

    with tempfile.TemporaryDirectory() as name:
        folder = write_series(Path(name), edit)
        # 15 × 23 of 34 × 40 pixels, fewer where the bit is what a negative value has anyway
        with pytest.warns(UserWarning, match=r"bits above BitsStored are set in (25|1\d)% of the voxels"):
            np.testing.assert_array_equal(read_dicom(folder)[0], hu)


@given(bits=st.integers(12, 15), extended=st.booleans())
def test_signs_are_no_overlay_and_nothing_is_said(bits: int, extended: bool) -> None:
    values = np.array([[-2000, -1, 0, 2000]], np.int16)
    stored = values if extended else values & np.int16((1 << bits) - 1)
    hu, seen = rescaled(header(bits, signed=1), stored, 0)
    np.testing.assert_array_equal(hu, values)
    assert seen == NoPixels(voxels=4)


def test_lossy_compression_may_overshoot_but_not_mix_an_overlay_in() -> None:
    dataset = header(12)
    dataset.file_meta.TransferSyntaxUID = JPEG2000
    hu, seen = rescaled(dataset, np.array([[4095, 4100, 1000]], np.uint16))
    np.testing.assert_array_equal(hu, [[3071, 3071, -24]])  # 4095 - 1024, not 4 - 1024
    assert not seen.above
    with pytest.raises(InputError, match=r"a\.dcm: lossy compression mixed an overlay"):
        rescaled(dataset, np.array([[1000, 1000 + 4096]], np.uint16))


def test_an_overlay_among_the_pixels_bits_is_refused() -> None:
    dataset = header(16)
    dataset.add_new((0x6002, 0x0100), "US", 16)
    dataset.add_new((0x6002, 0x0102), "US", 12)
    with pytest.raises(InputError, match="bit 12 is an overlay's and BitsStored is 16; export the series without"):
        check_overlays(HERE, dataset)
    dataset.BitsStored = 12
    check_overlays(HERE, dataset)
    dataset.BitsStored = 16
    dataset.add_new((0x6002, 0x3000), "OW", b"\0\0")  # beside the pixels
    check_overlays(HERE, dataset)


RING = np.ones((40, 50), bool)
RING[3:-3, 3:-3] = False


@given(value=st.integers(25, 65535), seed=st.integers(0, 99), bits=st.sampled_from([12, 14, 16]))
def test_padding_is_air_and_pixels_of_its_value_are_not(value: int, seed: int, bits: int) -> None:
    value = max(value % 2**bits, 25)  # -999 HU
    stored = tissue(seed)
    stored[RING] = value
    stored[20, 20:23] = value  # by chance
    hu, seen = rescaled(header(bits, PixelPaddingValue=value), stored)
    assert (hu[RING] == -1024).all()
    inner = np.s_[8:-8, 8:-8]  # a pixel of that value next to the padding cannot be told from it
    np.testing.assert_array_equal(hu[inner], stored[inner] - 1024.0)
    assert 0 <= seen.padding - np.count_nonzero(RING) < 50
    assert seen.padding_hu == value - 1024


@pytest.mark.parametrize("value", [0, 24])
def test_low_padding_is_air_wherever_it_lies(value: int) -> None:
    stored = tissue()
    stored[20, 20] = value
    hu, seen = rescaled(header(12, PixelPaddingValue=value), stored)
    assert hu[20, 20] == -1024
    assert seen == NoPixels(voxels=2000)


@pytest.mark.parametrize(
    ("signed", "written", "stored"), [(1, 63536, -2000), (1, -2000, -2000), (0, -2000, 63536), (0, 3000, 3000)]
)
def test_padding_may_be_written_with_the_other_sign(signed: int, written: int, stored: int) -> None:
    values = tissue().astype(np.int16 if signed else np.uint16)
    values[RING] = stored
    hu, seen = rescaled(header(12, signed, PixelPaddingValue=written), values, 0 if signed else -1024)
    assert (hu[RING] == -1024).all()
    assert not seen.above
    assert (hu[~RING] > -200).all()


def test_metal_as_bright_as_padding_stays() -> None:
    stored = tissue()
    stored[RING], stored[15:22, 15:22] = 4095, 4095
    hu, _ = rescaled(header(12, PixelPaddingValue=4095), stored)
    assert (hu[RING] == -1024).all()
    assert (hu[15:22, 15:22] == 3071).all()


def test_padding_in_the_middle_is_air_where_something_is_brighter() -> None:
    stored = tissue()
    stored[15:22, 15:22], stored[30, 30] = 2000, 2500
    hu, seen = rescaled(header(12, PixelPaddingValue=2000), stored)
    assert (hu[15:22, 15:22] == -1024).all()
    assert (seen.padding, hu[30, 30]) == (49, 1476)


@pytest.mark.parametrize(("first", "last"), [(3000, 3009), (3009, 3000)])
def test_a_range_of_padding(first: int, last: int) -> None:
    stored = tissue()
    stored[RING] = np.random.default_rng(1).integers(3000, 3010, size=np.count_nonzero(RING))
    hu, _ = rescaled(header(12, PixelPaddingValue=first, PixelPaddingRangeLimit=last), stored)
    assert (hu[RING] == -1024).all()
    np.testing.assert_array_equal(hu[~RING], stored[~RING] - 1024.0)


def test_a_range_that_spans_tissue_takes_none_away() -> None:
    stored = tissue()
    hu, _ = rescaled(header(12, PixelPaddingValue=0, PixelPaddingRangeLimit=2000), stored)
    np.testing.assert_array_equal(hu, stored - 1024.0)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_series_says_what_it_left_out(implicit: bool, write_series: Series, hu: np.ndarray, tmp_path: Path) -> None:
    def edit(index: int, dataset: Any) -> None:
        stored = hu[:, :, index].T + 1024
        stored[:4] = 3000  # 4 of 40 rows
        dataset.PixelPaddingValue, dataset.PixelData = 3000, stored.astype("<u2").tobytes()
        if implicit:
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian

    with pytest.warns(UserWarning, match=r"10% of the voxels are padding of 1976 HU; taken for air") as caught:
        volume, _ = read_dicom(write_series(tmp_path, edit))
    assert len([item for item in caught if "padding" in str(item.message)]) == 1
    assert (volume[:, :4] == -1024).all()
    np.testing.assert_array_equal(volume[:, 4:], hu[:, 4:])


def test_without_padding_nothing_is_said(write_series: Series, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_dicom(write_series(tmp_path, lambda index, dataset: setattr(dataset, "PixelPaddingValue", 0)))
