"""Small CT series for the tests of the command lines: a body in air, with a patient whose data must not leak."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SENTINELS = ("Sentinelname", "Vorname", "SENTINELID", "19030405")
HU = np.full((24, 20, 6), -1000, np.int16)
HU[5:19, 4:16] = 40 + np.arange(6)
AFFINE = np.array([[-0.8, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])  # RAS


def write_ct(
    folder: Path, description: str = "", number: int = 1, edit: Callable[[int, Any], None] | None = None
) -> Path:
    """Write ``HU`` as a series; ``edit(index, dataset)`` may change a slice."""
    folder.mkdir(parents=True, exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for index in range(HU.shape[2]):
        dataset = pydicom.Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "Sentinelname^Vorname", *SENTINELS[2:]
        dataset.OtherPatientIDs = dataset.PatientComments = SENTINELS[2]
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = number, index + 1, description
        dataset.ImagePositionPatient = [-10, -20, 30 + 2.5 * index]
        dataset.ImageOrientationPatient, dataset.PixelSpacing = [1, 0, 0, 0, 1, 0], [0.7, 0.8]
        dataset.SliceThickness = 5
        dataset.Columns, dataset.Rows = HU.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.PixelData = (HU[:, :, index].T + 1024).astype("<u2").tobytes()
        if edit:
            edit(index, dataset)
        dataset.save_as(folder / f"slice{number}-{index}.dcm", enforce_file_format=True)
    return folder


def at(index: int, **values: Any) -> Callable[[int, Any], None]:
    """An edit of one slice; None takes an element away."""

    def edit(here: int, dataset: Any) -> None:
        for keyword, value in values.items() if here == index else ():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit
