"""Fixtures: real scans where they are to be had, and small DICOM series made on the spot."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tests.data.derived_series import complete


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("NCE_REAL_DATA")
    if not folder:
        pytest.skip("NCE_REAL_DATA is not set: no real scans to test with")
    return Path(folder)


@pytest.fixture
def hu() -> np.ndarray:
    """A small volume (columns, rows, slices) without symmetry: 7 × 6 × 5 in HU."""
    return np.random.default_rng(0).integers(-1000, 1500, size=(7, 6, 5)).astype(np.int16)


@pytest.fixture
def write_series(hu: np.ndarray) -> Callable[..., Path]:
    """``write_series(folder, edit=…)`` writes ``hu`` as a CT series; ``edit(index, dataset)`` may spoil a slice.

    Voxel (i, j, k) lies at LPS (-10 + 0.8 i, -20 + 0.7 j, 30 + 2.5 k) mm.
    """

    def write(folder: Path, edit: Callable[[int, Any], None] | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        study, series = generate_uid(), generate_uid()
        for index in range(hu.shape[2]):
            meta = pydicom.dataset.FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset = pydicom.Dataset()
            dataset.file_meta = meta
            dataset.SOPClassUID = CTImageStorage
            dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
            dataset.PatientID = "1"
            dataset.Modality = "CT"
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SeriesNumber = study, series, 3
            dataset.InstanceNumber = index + 1
            dataset.ImagePositionPatient = [-10, -20, 30 + 2.5 * index]
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            dataset.PixelSpacing = [0.7, 0.8]  # rows, columns
            dataset.SliceThickness = 5  # on purpose not the distance of the slices
            dataset.Columns, dataset.Rows = hu.shape[:2]
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
            dataset.PixelRepresentation = 0
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
            dataset.PixelData = (hu[:, :, index].T + 1024).astype("<u2").tobytes()
            if edit:
                edit(index, dataset)
            dataset.save_as(folder / f"slice{index}.dcm", enforce_file_format=True)
        return folder

    return write


@pytest.fixture
def source(write_series: Callable[..., Path], tmp_path: Path) -> Path:
    return write_series(tmp_path / "source", complete)


@pytest.fixture
def volume(hu: np.ndarray) -> np.ndarray:
    """A synthetic volume with halves and with values beyond int16."""
    volume = hu.astype(np.float32) + 40.25
    volume[0, 0, 0], volume[1, 0, 0] = 40000, -40000
    return volume
