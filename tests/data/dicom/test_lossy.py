from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import JPEG2000, UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGExtended12Bit, JPEGLSNearLossless

from monai_nce.data.dicom.lossy import lossy_compression
from monai_nce.data.dicom.reader import check_dicom


@pytest.mark.parametrize(
    ("syntax", "flag", "said"),
    [
        (ExplicitVRLittleEndian, None, ""),
        (ExplicitVRLittleEndian, "00", ""),
        (ExplicitVRLittleEndian, "01", "yes"),  # decompressed since
        (JPEG2000Lossless, None, ""),
        (JPEG2000, None, "perhaps"),
        (JPEG2000, "00", ""),
        (JPEG2000, "01", "yes"),
        (JPEGExtended12Bit, None, "yes"),
        (JPEGLSNearLossless, "00", "yes"),
    ],
)
def test_by_flag_and_transfer_syntax(syntax: UID, flag: str | None, said: str) -> None:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    if flag is not None:
        header.LossyImageCompression = flag
    assert lossy_compression(header) == said


def test_a_series_is_warned_of_in_one_line(write_series: Callable[..., Path], tmp_path: Path) -> None:
    def edit(index: int, dataset: Any) -> None:
        dataset.LossyImageCompression = "01" if index else "00"

    folder = write_series(tmp_path, edit)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_dicom(folder)
    assert [str(item.message) for item in caught] == [
        f"{folder}: 4 of 5 files were compressed with loss: their HU are not those of the scanner"
    ]
