from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from data_prep import contact_sheet
from data_prep.contact_sheet import write_contact_sheets
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.visualize.panels import Page


def write_pair(folder: Path, name: str) -> dict[str, Path]:
    """A body of 50 HU; with contrast medium the quarter at the patient's right and back is bright."""
    volume = np.full((32, 32, 5), 50.0)
    bright = volume.copy()
    bright[16:, :16] = 200
    bright[..., [0, 1, 3, 4]] = 50  # only the middle slice shows it
    paths = {"source": folder / f"{name}_source.nii", "target": folder / f"{name}_target.nii"}
    for path, content in zip(paths.values(), (volume, bright), strict=True):
        write_nifti_hu(path, content, np.diag([5.0, 5, 5, 1]))
    return paths


def test_the_patients_right_is_on_the_left(tmp_path: Path) -> None:
    volumes = {"pair_000": write_pair(tmp_path, "a")}
    assert write_contact_sheets(volumes, {"pair_000": "pair_000, portal"}, lambda: tmp_path / "x.png") == 1
    dots = 110
    left, top, side = ((Page.LEFT + Page.PANEL + Page.GAP) * dots, Page.TOP * dots, Page.PANEL * dots)  # of the CECT
    panel = imread(tmp_path / "x.png")[round(top) : round(top + side), round(left) : round(left + side), 0]
    half = round(side / 2)
    quarters = panel[:half, :half], panel[:half, half:], panel[half:, :half], panel[half:, half:]
    assert [round(float(quarter.mean()), 1) for quarter in quarters] == [0.5, 0.5, 1.0, 0.5]


def test_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_sheet, "ROWS", 2)
    volumes = {f"p{number}": write_pair(tmp_path, f"p{number}") for number in range(5)}
    pages = iter(tmp_path / f"{page}.png" for page in range(3))
    assert write_contact_sheets(volumes, {name: name for name in volumes}, lambda: next(pages)) == 3
    assert [(tmp_path / f"{page}.png").is_file() for page in range(3)] == [True] * 3
