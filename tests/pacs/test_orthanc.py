"""A derived series in a real PACS: sent, found, read back unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest

from monai_nce.data.dicom.header import Derivation
from monai_nce.data.dicom.writer import write_derived_series
from tests.pacs.roundtrip import dicomweb_plugin, orthanc_program

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (orthanc_program() and dicomweb_plugin()),
        reason="Debian's packages orthanc and orthanc-dicomweb are not installed",
    ),
]


def alone() -> list[str]:
    """A command's prefix that puts it into a network namespace of its own, where that is allowed."""
    prefix = ["unshare", "--map-root-user", "--net"]
    try:
        return prefix if subprocess.run([*prefix, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


def test_a_derived_series_comes_back_from_a_pacs_as_it_was_sent(
    write_series: Callable[..., Path], hu: np.ndarray, tmp_path: Path
) -> None:
    def edit(index: int, dataset: pydicom.Dataset) -> None:
        dataset.PatientID, dataset.PatientName = "4711", "Müller^Jörg"
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.ContrastBolusAgent = "an agent"
        dataset.ImagePositionPatient = [-10, -20 + 0.5 * index, 30 + 2.5 * index]  # tilted

    source = write_series(tmp_path / "source", edit)
    volume = np.where(hu > 1200, -hu - 1000, hu)  # signed, and beyond the window at both ends
    out, work = tmp_path / "out", tmp_path / "work"
    write_derived_series(out, volume, sorted(source.iterdir()), Derivation("0" * 64, "carry", 50, 300))
    script = Path(__file__).with_name("roundtrip.py")
    done = subprocess.run(
        [*alone(), sys.executable, str(script), str(out), str(work)], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr

    sent = {made.SOPInstanceUID: made for made in map(pydicom.dcmread, out.iterdir())}
    received = {made.SOPInstanceUID: made for made in map(pydicom.dcmread, (work / "received").iterdir())}
    assert len(received) == 5 and received.keys() == sent.keys()
    for uid, made in received.items():
        np.testing.assert_array_equal(made.pixel_array, sent[uid].pixel_array)
        assert made == sent[uid]  # every element: geometry, SyntheticData, names
        assert made.SyntheticData == "YES"
    positions = {tuple(made.ImagePositionPatient) for made in received.values()}
    assert positions == {(-10, -20 + 0.5 * index, 30 + 2.5 * index) for index in range(5)}

    (study,) = json.loads((work / "studies.json").read_text())
    (series,) = json.loads((work / "series.json").read_text())
    assert study["0020000D"]["Value"] == [next(iter(sent.values())).StudyInstanceUID]
    assert study["00100010"]["Value"] == [{"Alphabetic": "Müller^Jörg"}]
    assert series["0008103E"]["Value"] == ["SYNTHETIC CECT (AI) - research only"]
    assert (work / "preview.png").read_bytes().startswith(b"\x89PNG")
