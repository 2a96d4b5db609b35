from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.preparation import body, main, write_studies
from monai_nce.data.scans.reader import read_ct


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_measured(tmp_path: Path) -> None:
    main(["--run", "2:32:8", "--workers", "2", "--out", str(tmp_path / "x.json")])
    content = json.loads((tmp_path / "x.json").read_text())
    (row,) = content["runs"]
    assert content["hardware"]["cores"] and row["patients"] == 2
    assert row["processes"] == 2
    for peak in ("parent_peak_mib", "worker_peak_mib"):
        assert 50 < row[peak] < 4000


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
