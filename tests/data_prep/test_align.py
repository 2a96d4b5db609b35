from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from data_prep import align as module
from data_prep.__main__ import main
from data_prep.align import align
from data_prep.registration import grid_points
from monai_nce.data import read_ct
from monai_nce.data.nifti.writer import write_nifti_hu
from monai_nce.errors import InputError

AFFINE = np.diag([4.0, 4.0, 5.0, 1.0])


def body(shift: float = 0.0) -> np.ndarray:
    """A body of 50 HU with an organ of 120 HU, in 28 × 24 × 10 voxels, moved along x by a number of voxels."""
    x, y, z = np.indices((28, 24, 10)).astype(float)
    x = x - shift
    soft = np.where((x - 13.5) ** 2 + (y - 11.5) ** 2 < 81, 50, -1000)
    hu = np.where((x - 11) ** 2 + (y - 12) ** 2 + (z - 5) ** 2 < 16, 120, soft)
    return np.asarray(ndimage.gaussian_filter(hu.astype(float), 1), np.float32)


class Still:
    """Finds every voxel where it is, or ``by`` mm further along x."""

    by = 0.0

    def points(self, fixed: np.ndarray, moving: np.ndarray, spacing: Any) -> np.ndarray:
        assert fixed.shape == moving.shape
        points = grid_points(fixed.shape, spacing)
        points[0] += self.by
        return points


def test_grids_of_their_own_meet_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    still = Still()
    monkeypatch.setattr(module, "make_registration", lambda *_, **__: still)
    moving, own = body()[::-1, :, 2:], AFFINE @ np.array([[-1, 0, 0, 27], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 1.0]])
    found = align(body(), AFFINE, moving, own)
    np.testing.assert_allclose(found[:, :, 2:], body()[:, :, 2:], atol=1e-3)
    np.testing.assert_allclose(found[:, :, 0], body()[:, :, 2], atol=1e-3)  # beyond it its edge goes on
    still.by = 8.0
    np.testing.assert_allclose(align(body(), AFFINE, body(), AFFINE)[:-2], body()[2:], atol=1e-3)


def test_a_moved_scan_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, hu in (("fixed", body()), ("moving", body(shift=2.0))):
        write_nifti_hu(tmp_path / f"{name}.nii.gz", hu, AFFINE)
    typed = ["align", *(str(tmp_path / f"{name}.nii.gz") for name in ("fixed", "moving")), "--method", "affine"]
    assert main([*typed, "-o", str(tmp_path / "out.nii.gz")]) == 0
    assert capsys.readouterr().out.startswith(f"next: nce compare SYNTHETIC {tmp_path / 'out.nii.gz'} --scan")
    found, affine = read_ct(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(affine, AFFINE)
    before = np.abs(body(shift=2.0) - body()).mean()
    assert np.abs(found - body()).mean() < 0.2 * before

    for output, said in (("fixed.nii.gz", "is one of the scans itself"), ("out.png", "ends in .nii or .nii.gz")):
        assert main([*typed, "-o", str(tmp_path / output)]) == 2
        assert said in capsys.readouterr().err
    assert main(["align", str(tmp_path / "none.nii.gz"), *typed[2:], "-o", str(tmp_path / "b.nii.gz")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "b.nii.gz").exists()


def test_what_cannot_be_registered_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"moving scan: expected 4 voxels or more on each axis but got \(28, 24, 3\)"):
        align(body(), AFFINE, body()[..., :3], AFFINE)

    def fail(*_: Any) -> None:
        raise RuntimeError("ITK ERROR:\nToo many samples map outside")

    monkeypatch.setattr(Still, "points", fail)
    monkeypatch.setattr(module, "make_registration", lambda *_, **__: Still())
    with pytest.raises(InputError, match="the scans cannot be registered: Too many samples"):
        align(body(), AFFINE, body(), AFFINE)
