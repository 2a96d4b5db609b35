from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_nce.data.scans.affine import check_affine, in_mm, mm_apart
from monai_nce.errors import InputError

HERE = Path("a.nii")


def test_sizes_are_written_in_short() -> None:
    assert in_mm(np.array([0.70312, 0.7, 5])) == "0.7031 × 0.7 × 5 mm"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([1, 1, 0], "singular or not finite"),
        ([1, np.nan, 1], "singular or not finite"),
        ([0.0007, 0.0007, 0.005], "expected voxels of 0.01 to 100 mm but got 0.0007 × 0.0007 × 0.005 mm"),  # metres
        ([700, 700, 5000], "got 700 × 700 × 5000 mm: is the unit another one"),  # micrometres
    ],
)
def test_what_no_scan_has_is_refused(columns: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_affine(HERE, np.diag([*columns, 1.0]))


def test_what_scanners_have_is_let_pass() -> None:
    check_affine(HERE, np.array([[0, 0, 10, 1], [0.3, 0, 0, 2], [0, -0.3, 0, 3], [0, 0, 0, 1.0]]))


def test_grids_are_as_far_apart_as_their_farthest_corners() -> None:
    affine, moved, larger = np.diag([2, 2, 5, 1.0]), np.diag([2, 2, 5, 1.0]), np.diag([2, 2.1, 5, 1.0])
    moved[:3, 3] = 3, 4, 0
    assert mm_apart(affine, affine, (10, 10, 4)) == 0
    assert mm_apart(affine, moved, (10, 10, 4)) == 5
    assert mm_apart(affine, larger, (10, 11, 4)) == pytest.approx(0.1 * 10)
