"""The command from scans to files, on a small body and a network that brightens everything."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from benchmarks import real_scans
from benchmarks.real_scans import main
from monai_nce.handlers import TrainedFor
from monai_nce.networks import Generator


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    torch.nn.init.constant_(network.head.bias, 0.3)
    state = network.state_dict()
    TrainedFor("NECT", "CECT", 50.0, 300.0, 2.6667, 3).write_to(state, network)
    torch.save(state, tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """An oval with labelled organs."""
    x, y = np.meshgrid(np.arange(60) - 30, np.arange(50) - 25, indexing="ij")
    hu = np.full((60, 50, 6), -1000.0)
    hu[np.hypot(x / 1.2, y) < 22] = -100
    hu[np.hypot(x / 1.2, y) < 18] = 40
    labels = np.zeros(hu.shape, dtype=np.uint8)
    labels[34:46, 20:34], labels[14:26, 20:34], labels[29:32, 20:24] = 5, 1, 52
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    (tmp_path / "patient").mkdir()
    for name, image in (("ct", hu.astype(np.int16)), ("organs", labels)):
        nib.save(nib.Nifti1Image(image, affine), tmp_path / "patient" / f"{name}.nii.gz")
    return tmp_path / "patient" / "ct.nii.gz"


def test_a_scan_given_by_its_path(scan, weights, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["--scans", str(scan), "--checkpoint", str(weights), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"real_scans.json", "real_scans.md", "ct.png", "ct_regions.png"}
    content = json.loads((out / "real_scans.json").read_text())
    measured = content["scans"]["ct"]
    assert set(measured["synthetic"]["regions"]) == {"liver", "spleen", "aorta", "fat"}
    assert 20 < measured["synthetic"]["regions"]["liver"]["rise"] < 60
    assert measured["identity"]["regions"]["liver"]["rise"] == 0
    assert {check["probe"] for check in measured["moved"]} >= {"mirrored", "turned by 15°", "-10 HU"}
    # this network looks at no place, so what it does follows the body
    assert all(check["passed"] for check in measured["moved"] if check["probe"] in ("mirrored", "40 mm to the left"))
    text = (out / "real_scans.md").read_text()
    assert "| liver |" in text and "model.pt" in text
    printed = capsys.readouterr().out
    assert text.strip() in printed and "volumes of" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scans", "missing.nii.gz"], "missing.nii.gz: expected a path"),
        (["--checkpoint", "missing.pt"], "missing.pt"),
    ],
)
def test_wrong_input_is_one_line(arguments, message, scan, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(real_scans, "PROBES", {})
    given = arguments if "--scans" in arguments else [*arguments, "--scans", str(scan)]
    assert main([*given, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and message in error
    assert not (tmp_path / "out").exists()
