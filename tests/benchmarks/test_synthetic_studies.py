from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.synthetic_studies import body, write_studies
from monai_nce.data.scans.reader import read_ct


def test_studies_are_read_as_they_were_made(tmp_path: Path) -> None:
    write_studies(tmp_path / "a", 2, size=32, slices=4)
    for name, enhanced in (("noncontrast", False), ("arterial", True)):
        volume, affine = read_ct(tmp_path / "a" / "0001" / name)
        np.testing.assert_array_equal(volume, np.maximum(body(32, 4, enhanced, seed=1), -1024))
        np.testing.assert_allclose(np.diag(affine), [-10.625, -10.625, 5, 1])


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_studies(tmp_path / name, 1, size=16, slices=2)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.dcm"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
