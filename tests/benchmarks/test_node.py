from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom

from benchmarks.node import SLICES, write_studies


def test_no_two_studies_share_their_voxels_or_uids(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.arange(4 * 3 * 6, dtype=np.int16).reshape(4, 3, 6), np.eye(4)), tmp_path / "ct.nii.gz")
    written = write_studies(tmp_path / "studies", tmp_path / "ct.nii.gz", 9)
    read = [[pydicom.dcmread(file) for file in files] for files in written]
    assert {len(series) for series in read} == {SLICES}
    assert len({series[0].StudyInstanceUID for series in read}) == 9
    assert len({b"".join(one.PixelData for one in series) for series in read}) == 9
