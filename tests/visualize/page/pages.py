"""What the tests of pages share: a volume without symmetry, and a page's parts."""

from __future__ import annotations

import json
import re

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

# axes towards left, posterior and superior, as DICOM series have them, with a shift
LPS = np.array([[-0.8, 0, 0, 60], [0, -0.7, 0, 80], [0, 0, 2.5, -12], [0, 0, 0, 1.0]])


def scan_and_synthetic(shape: tuple[int, int, int] = (30, 24, 9)) -> tuple[np.ndarray, np.ndarray]:
    """Two volumes in HU, neither symmetric nor the same in two slices."""
    rng = np.random.default_rng(0)
    scan = np.full(shape, -1000, np.int16)
    scan[5:-5, 4:-4] = rng.integers(-100, 200, size=(shape[0] - 10, shape[1] - 8, shape[2]))
    scan[8:12, 6:9] += 500
    synthetic = scan.copy()
    synthetic[6:-6, 5:-5] += rng.integers(0, 90, size=(shape[0] - 12, shape[1] - 10, shape[2])).astype(np.int16)
    return scan, synthetic


def data_of(html: str) -> dict:
    return json.loads(re.search(r'id="page-data">(.*?)</script>', html, re.DOTALL)[1])


def volume_text(html: str, name: str) -> str:
    return re.search(rf'<script type="application/gzip" id="{name}">(.*?)</script>', html, re.DOTALL)[1]


def whole_numbers(low: int = -32768, high: int = 32767) -> st.SearchStrategy[np.ndarray]:
    """Volumes of int16 with small sides of any length."""
    shapes = st.tuples(*[st.integers(1, 7)] * 3)
    return arrays(np.int16, shapes, elements=st.integers(low, high))
