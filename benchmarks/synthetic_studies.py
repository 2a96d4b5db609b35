"""Write studies as an archive has them: crude bodies in DICOM, the same for one seed. No patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

__all__ = ["body", "write_series", "write_studies"]

FIELD_MM = 340.0
UID_ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's
AIR_HU, TISSUE_HU, NECT_HU, CECT_HU = -1000, 50, 45, 190


def body(size: int, slices: int, enhanced: bool, seed: int = 0) -> np.ndarray:
    """Make an oval of soft tissue with two kidneys and an aorta.

    Args:
        size: pixels along both in-plane axes, which span 340 mm.
        slices: number of slices.
        enhanced: whether the kidneys and the aorta are bright.
        seed: another seed gives another width and other noise.

    Returns:
        HU, int16, (columns, rows, slices).
    """
    random = np.random.default_rng([seed, int(enhanced)])
    x, y = np.meshgrid(*2 * [(np.arange(size) + 0.5) / size * 2 - 1], indexing="ij")
    wide = np.random.default_rng(seed).uniform(0.75, 0.9)
    plane = np.where((x / wide) ** 2 + (y / 0.6) ** 2 <= 1, TISSUE_HU, AIR_HU)
    for across, down, radius in ((-0.35, 0.15, 0.18), (0.35, 0.15, 0.18), (0.05, 0.1, 0.08)):
        inside = (x - across) ** 2 + (y - down) ** 2 <= radius**2
        plane = np.where(inside, CECT_HU if enhanced else NECT_HU, plane)
    volume = np.repeat(plane[:, :, None].astype(np.int16), slices, axis=2)
    return volume + random.integers(-6, 7, size=volume.shape, dtype=np.int16)


def write_series(
    folder: Path, volume: np.ndarray, spacing: tuple[float, float, float], first_z: float = 0.0, **elements: Any
) -> Path:
    """Write a volume as a CT series, a file per slice named after SeriesNumber and slice; return the folder.

    Args:
        folder: made if missing.
        volume: HU, int16, (columns, rows, slices), in the axes of a patient on the back.
        spacing: of columns, rows and slices, in mm.
        first_z: position of the first slice along the body, in mm.
        elements: elements of the header, by keyword, in place of those that are made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"PatientID": "1", "StudyInstanceUID": f"{UID_ROOT}1", "SeriesInstanceUID": f"{UID_ROOT}2"}
    given |= {"SeriesNumber": 1, **elements}
    columns, rows, slices = volume.shape
    corner = [-spacing[0] * (columns - 1) / 2, -spacing[1] * (rows - 1) / 2]
    for index in range(slices):
        dataset = pydicom.Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, UID(f"{given['SeriesInstanceUID']}.{index + 1}")
        dataset.file_meta = meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        dataset.Modality, dataset.ImageType, dataset.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], index + 1
        dataset.FrameOfReferenceUID = f"{given['StudyInstanceUID']}.9"
        dataset.ImagePositionPatient = [*corner, first_z + spacing[2] * index]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[0]], spacing[2]
        dataset.Columns, dataset.Rows = columns, rows
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, 0, "HU"
        dataset.PixelData = np.ascontiguousarray(volume[:, :, index].T).astype("<i2").tobytes()
        for keyword, value in given.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{given['SeriesNumber']}-{index:03d}.dcm", enforce_file_format=True)
    return folder


def write_studies(root: Path, patients: int, size: int = 512, slices: int = 60) -> Path:
    """Write a study for each patient, with series ``noncontrast`` and ``arterial`` as C4KC-KiTS names them.

    Args:
        root: a folder for each patient is made in it.
        patients: number of patients.
        size: pixels along both in-plane axes, which span 340 mm.
        slices: slices of each series, 5 mm apart.
    """
    spacing = (FIELD_MM / size, FIELD_MM / size, 5.0)
    for number in range(patients):
        study: dict[str, Any] = {"PatientID": f"P{number}", "StudyInstanceUID": f"{UID_ROOT}{number + 1}"}
        for series, name in enumerate(("noncontrast", "arterial"), start=1):
            uid = f"{study['StudyInstanceUID']}.{series}"
            volume = body(size, slices, enhanced=series == 2, seed=number)
            described: dict[str, Any] = {"SeriesInstanceUID": uid, "SeriesNumber": series, "SeriesDescription": name}
            write_series(root / f"{number:04d}" / name, volume, spacing, **study, **described)
    return root
