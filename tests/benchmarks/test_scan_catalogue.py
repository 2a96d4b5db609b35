"""Scans are found by name or path, and the catalogue's facts hold on the scans where they are there."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.rise import ORGANS
from benchmarks.scan_catalogue import CECT, NECT, catalogue, find_scans
from benchmarks.scan_regions import find_regions
from monai_nce.errors import InputError

REAL = os.environ.get("NCE_REAL_DATA")
needs_real = pytest.mark.skipif(not REAL, reason="NCE_REAL_DATA is not set")
# lowest and highest mean HU without contrast medium
PLAIN = {
    "liver": (35, 75),
    "spleen": (35, 65),
    "kidney_right": (12, 50),
    "kidney_left": (12, 50),
    "aorta": (25, 60),
    "inferior_vena_cava": (25, 60),
    "psoas": (30, 70),
    "paraspinal_muscle": (20, 75),
    "gluteal_muscle": (10, 75),
    "urinary_bladder": (-5, 20),
    "effusion": (-5, 30),
    "subcutaneous_fat": (-130, -85),
}


def test_a_scan_given_by_its_path_is_without_contrast_medium_and_takes_labels_beside_it(tmp_path):
    image = nib.Nifti1Image(np.full((4, 4, 4), -1000, dtype=np.int16), np.eye(4))
    for name in ("ct.nii.gz", "organs.nii.gz"):
        nib.save(image, tmp_path / name)
    (scan,) = find_scans(None, [str(tmp_path / "ct.nii.gz")])
    assert (scan.name, scan.domain, scan.labels) == ("ct", NECT, tmp_path / "organs.nii.gz")
    (alone,) = find_scans(None, [str(tmp_path / "organs.nii.gz")])
    assert alone.labels is None


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        (None, "nect_abdomen", "nect_abdomen: expected the folder of the real scans in NCE_REAL_DATA"),
        (Path("nowhere"), "nect_abdomen", "no such file; NCE_REAL_DATA is expected to hold the scans"),
        (None, "other.nii.gz", "other.nii.gz: expected a path, or one of nect_abdomen"),
    ],
)
def test_what_is_not_there_is_named(folder, name, message):
    with pytest.raises(InputError, match=message):
        find_scans(folder, [name])


def test_the_catalogue_names_source_and_licence_and_known_regions():
    for name, facts in catalogue()["scans"].items():
        assert facts["domain"] in (NECT, CECT) and facts["source"], name
        assert set(facts.get("discs", {})) <= set(ORGANS), name


@needs_real
@pytest.mark.parametrize("name", [n for n, facts in catalogue()["scans"].items() if facts["domain"] == NECT])
def test_regions_have_the_hu_of_their_organs(name):
    (scan,) = find_scans(Path(REAL), [name])
    hu = scan.volume[0]
    for region, mask in find_regions(scan).items():
        if region in PLAIN:
            low, high = PLAIN[region]
            assert low < hu[mask].mean() < high, region
