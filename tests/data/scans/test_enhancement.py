from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.data.scans.enhancement import CECT_ABOVE, NECT_BELOW, bright_tissue
from monai_nce.data.scans.reader import read_ct

AFFINE = np.diag([3.0, 3.0, 5.0, 1.0])


def body(**places: float) -> CoarseScan:
    """A body of muscle, 24 cm wide, with a vertebra, an organ, cartilage under the skin or an edge beside bone."""
    x, y = np.meshgrid(np.arange(100) - 50, np.arange(100) - 50, indexing="ij")
    plane = np.where(np.hypot(x, y) < 40, 55.0, -1000.0)
    plane[np.hypot(x, y + 22) < 7] = places.get("marrow", 55)
    rim = (np.hypot(x, y + 22) < 9) & (np.hypot(x, y + 22) >= 7)
    plane[rim] = 500
    plane[np.hypot(x - 15, y) < 6] = places.get("organ", 55)
    plane[np.hypot(x, y - 35) < 3] = places.get("cartilage", 55)
    return CoarseScan.of(np.repeat(plane[..., None], 8, axis=2), AFFINE)


def test_a_bright_organ_is_measured() -> None:
    found = bright_tissue(body(organ=150))
    expected = np.pi * 15**2 * 40 / 1000  # ml: its rim is not smooth
    assert 0.8 * expected < found.bright < 1.3 * expected
    assert found.share == pytest.approx(found.bright / (found.bright + found.plain))
    assert found.share > CECT_ABOVE


@pytest.mark.parametrize("place", ["marrow", "cartilage"])
def test_marrow_and_cartilage_are_left_out(place: str) -> None:
    found = bright_tissue(body(**{place: 170}))
    assert found.bright == 0 and found.plain > 500


@pytest.mark.parametrize(("organ", "bright"), [(80, False), (120, True), (400, False), (700, False)])
def test_neither_soft_tissue_nor_bone_is_bright(organ: float, bright: bool) -> None:
    """What reaches 300 HU is taken for bone."""
    assert bool(bright_tissue(body(organ=organ)).bright) is bright


def test_nothing_is_there() -> None:
    found = bright_tissue(CoarseScan.of(np.full((20, 20, 5), -1000.0), AFFINE))
    assert (found.bright, found.plain, found.share) == (0, 0, 0)


def test_real_scans_are_told_apart(real_data: Path) -> None:
    nect = ("nect_abdomen/ct.nii.gz", "real_scans/nect_acrin_flt.nii.gz")
    cect = ("cect_abdomen_dicom/series", "real_scans/cect_tcga_ov.nii.gz", "real_scans/cect_cptac_pda.nii.gz")
    shares = [
        [bright_tissue(CoarseScan.of(*read_ct(real_data / path))).share for path in paths] for paths in (nect, cect)
    ]
    assert max(shares[0]) < NECT_BELOW and min(shares[1]) > CECT_ABOVE
