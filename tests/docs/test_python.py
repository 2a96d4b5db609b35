"""What docs/python.md shows runs as it stands there."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from monai_nce.data.nifti.writer import write_nifti_hu, write_nifti_labels
from monai_nce.phantom import LABELS, make_phantom_patient

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def run_page(capsys: pytest.CaptureFixture[str]) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return capsys.readouterr().out


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    patient = make_phantom_patient(0, size=64, slices=5)
    write_nifti_hu("scan.nii.gz", patient.nect_aligned, patient.affine)
    write_nifti_labels("organs.nii.gz", (patient.labels == LABELS["liver"]) * 5, patient.affine)
    out = run_page(capsys)
    assert "no_such_scan.nii.gz: no such file or folder" in out and "liver" in out and "(25.0, 80.0)" in out
    assert "virtual patients" in out  # what the weights that ship learnt from
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("organs.nii.gz", "scan.nii.gz", "scan_synthetic_cect.nii.gz")
    ]


@pytest.mark.slow
@pytest.mark.skipif("NCE_REAL_DATA" not in os.environ, reason="NCE_REAL_DATA is not set")
@pytest.mark.filterwarnings("ignore")
def test_the_page_runs_on_a_real_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, copy in (("ct", "scan"), ("organs", "organs")):
        shutil.copy(Path(os.environ["NCE_REAL_DATA"]) / "nect_abdomen" / f"{name}.nii.gz", f"{copy}.nii.gz")
    out = run_page(capsys)
    change = re.search(r"^liver (\d+) HU, expected \(25.0, 80.0\)$", out, flags=re.MULTILINE)
    assert change and 25 <= int(change[1]) <= 80
