"""A small data set on disk, for the tests of its writer and its reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from monai_nce.data.dataset.writer import DatasetWriter

AFFINE = np.diag([1.5, 1.5, 5.0, 1.0])
VOLUME = np.arange(-60, 60).reshape(4, 5, 6)
ABOUT = {"name": "n", "description": "d", "licence": "CC0-1.0"}


def make(folder: Path, value: int = 0, **options: Any) -> Path:
    with DatasetWriter(folder, **ABOUT, provenance={"seed": 7}, **options) as dataset:
        dataset.add("training", "a", AFFINE, source=VOLUME, target=VOLUME + value, labels=VOLUME > 0)
        dataset.add("training", "b", AFFINE, source=VOLUME[:, :, :3])
        dataset.add("test", "c.1", AFFINE, target=VOLUME, aligned_source=VOLUME)
    return folder
