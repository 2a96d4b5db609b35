"""A study on its way: into a PACS, on to the node, and back as a synthetic series."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from benchmarks.preparation import write_series
from tests.data.conftest import real_data
from tests.pacs.roundtrip import dicomweb_plugin, orthanc_program
from tests.pacs.test_orthanc import alone

__all__ = ["real_data"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (orthanc_program() and dicomweb_plugin()),
        reason="Debian's packages orthanc and orthanc-dicomweb are not installed",
    ),
]
NAME = "Geheim^Anna"


def test_a_study_comes_back_with_a_synthetic_series_as_inferring_makes_it(real_data: Path, tmp_path: Path) -> None:
    image = nib.load(real_data / "nect_abdomen" / "ct.nii.gz")
    volume = np.asarray(image.dataobj).astype(np.int16)[::-1, ::-1]  # RAS to LPS
    about = {"PatientID": "S3CR3T", "PatientName": NAME, "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    source, work = write_series(tmp_path / "source", volume, (3, 3, 3), **about), tmp_path / "work"
    script = Path(__file__).with_name("autoroute.py")
    done = subprocess.run(
        [*alone(), sys.executable, str(script), str(source), str(work)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr

    # the PACS sent the study again, with the synthetic series in it: nothing was done twice
    listed = json.loads((work / "series.json").read_text())
    names = sorted(one.get("0008103E", {}).get("Value", [""])[0] for one in listed)
    assert names == ["", "SYNTHETIC CECT (AI) - research only"]
    metrics = (work / "metrics.txt").read_text()
    for outcome, count in (("stored", 30), ("duplicate", 30), ("synthetic", 30)):
        assert f'nce_node_instances_total{{outcome="{outcome}"}} {count}.0' in metrics
    assert 'nce_node_series_total{outcome="enhanced"} 1.0' in metrics
    told = (work / "node.log").read_text() + (work / "page.html").read_text() + metrics
    assert "30 slices enhanced" in told and "30 instances sent" in told
    assert not any(secret in told for secret in ("S3CR3T", "Geheim", "1.2.3.4"))

    command = [sys.executable, "-m", "monai.bundle", "run", "inferring", "--config_file"]
    command += ["bundles/nce/configs/inference.json", "--input", str(source), "--output_dir", str(tmp_path / "out")]
    subprocess.run([*command, "--output_format", "dicom"], check=True, capture_output=True, timeout=300)
    expected, received = (
        {int(one.InstanceNumber): one.pixel_array for one in map(pydicom.dcmread, folder.rglob("*.dcm"))}
        for folder in (tmp_path / "out", work / "received")
    )
    assert len(received) == 30
    for number, pixels in expected.items():
        np.testing.assert_array_equal(received[number], pixels)
    judge = shutil.which("dciodvfy", path=str(Path(sys.executable).parent))
    if judge is None:
        print("dicom3tools is not installed: dciodvfy was not asked")
        return
    said = subprocess.run([judge, "-new", str(work / "received" / "0000.dcm")], capture_output=True, text=True)
    assert "Error" not in said.stderr + said.stdout, said.stderr
