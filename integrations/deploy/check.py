"""Make a DICOM series of a real scan, and compare what the application made of it with the bundle's inference.

python check.py series SCAN.nii.gz FOLDER
python check.py compare SERIES DERIVED RESULT.nii.gz
"""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.uid import generate_uid

from monai_nce.data import read_ct


def write_series(scan: Path, folder: Path) -> None:
    """Write a NIfTI file as a CT series of one file per slice, axes towards the patient's left and back."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(scan), sitk.sitkInt16), "LPS")
    folder.mkdir(parents=True)
    study, series = generate_uid(), generate_uid()
    shared = {
        "0008|0060": "CT", "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL", "0010|0020": "test", "0020|000d": study,
        "0020|000e": series, "0020|0011": "2", "0028|1052": "0", "0028|1053": "1", "0028|1054": "HU",
        "0018|0050": f"{image.GetSpacing()[2]:g}", "0020|0037": "1\\0\\0\\0\\1\\0",
    }  # fmt: skip
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z in range(image.GetDepth()):
        part = image[:, :, z]
        place = "\\".join(f"{value:g}" for value in image.TransformIndexToPhysicalPoint((0, 0, z)))
        for key, value in {**shared, "0020|0032": place, "0020|0013": str(z + 1), "0008|0018": generate_uid()}.items():
            part.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{z:04d}.dcm"))
        writer.Execute(part)


def compare(series: Path, derived: Path, result: Path) -> str:
    """Return what differs, else an empty text. The project's reader would refuse to read synthetic slices as a scan."""
    slices = [dcmread(file) for file in sorted(derived.iterdir())]
    got = np.stack([one.pixel_array.T * one.RescaleSlope + one.RescaleIntercept for one in slices], axis=2)
    written, (scan, place) = nib.load(result), read_ct(series)
    corners = np.array([(0, 0, z, 1) for z in range(len(slices))]) @ written.affine.T
    positions = np.array([one.ImagePositionPatient for one in slices], float) * (-1, -1, 1)  # LPS to RAS
    sources = {dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in series.iterdir()}
    if not (np.allclose(corners[:, :3], positions, atol=1e-3) and np.allclose(place, written.affine, atol=1e-3)):
        return "the derived slices lie elsewhere than the scan"
    if not np.array_equal(got, np.asarray(written.dataobj)):
        return f"voxels differ from inferring by up to {np.abs(got - np.asarray(written.dataobj)).max():g} HU"
    if {one.SourceImageSequence[0].ReferencedSOPInstanceUID for one in slices} != sources:
        return "the derived slices do not refer to the acquired ones"
    if {(one.Modality, one.get("SyntheticData")) for one in slices} != {("CT", "YES")}:
        return "the derived slices do not say that they are synthetic CT"
    highest = float((got - scan).max())
    print(f"{len(slices)} slices, every voxel equal to inferring, largest rise {highest:.0f} HU")
    return "" if highest > 20 else "nothing was enhanced"


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    sys.exit(write_series(*map(Path, paths)) if command == "series" else compare(*map(Path, paths)) or None)
