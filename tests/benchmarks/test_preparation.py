from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.preparation import main

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@pytest.mark.slow
def test_memory_is_measured(tmp_path: Path) -> None:
    main(["--run", "2:32:8", "--workers", "2", "--out", str(tmp_path / "x.json")])
    content = json.loads((tmp_path / "x.json").read_text())
    (row,) = content["runs"]
    assert content["hardware"]["cores"] and row["patients"] == 2
    assert row["processes"] == 2
    for peak in ("parent_peak_mib", "worker_peak_mib"):
        assert 50 < row[peak] < 4000
