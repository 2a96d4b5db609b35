from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.region_errors import measure_regions
from monai_nce.data.dataset.writer import DatasetWriter
from monai_nce.transforms import WindowHU


@pytest.mark.parametrize("enhancing", [True, False])
def test_errors_by_region(enhancing: bool, tmp_path: Path) -> None:
    """A head of 400 voxels at 1000, 40 of which rise to 1600; what is made rises by 300 everywhere, air included."""
    source = np.zeros((10, 10, 6))
    source[:, :, 1:5] = 1000
    target, labels = source.copy(), (source > 0).astype(np.uint8)
    target[:, :4, 2] = 1600
    if enhancing:
        labels[:, :4, 2] = 2
    with DatasetWriter(tmp_path / "set", name="n", description="d", licence="l") as dataset:
        images = {"source": source, "target": target, "aligned_source": source, "labels": labels}
        dataset.add("test", "a", np.eye(4), **images)
    weights: Any = SimpleNamespace(window=WindowHU(1000, 2000), enhance=lambda volume: volume + np.float32(300))
    found = measure_regions(tmp_path / "set", weights)["a"]
    # 1000 is half the window: 600 are 0.6 on [-1, 1]
    assert found["identity"]["head"] == pytest.approx(0.36 * 40 / 400)
    assert found["synthetic"]["head"] == pytest.approx(0.09)
    wanted: tuple[Any, ...] = (pytest.approx(0.36), pytest.approx(0.09), 0, pytest.approx(0.5))
    made = tuple(found[row][name] for name in ("enhancing", "rise") for row in ("identity", "synthetic"))
    assert made == (wanted if enhancing else (None,) * 4)
