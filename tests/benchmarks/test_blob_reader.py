"""Tests of the reader that looks for spots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.blob_reader import read_scan

LABELS = {"air": 0, "liver": 1, "spleen": 2, "kidney_cortex": 3, "kidney_medulla": 4}
SPACING = (2.5, 2.5, 4.0)
SHAPE = (48, 40, 16)


def scan(contrast: float, radius: float, at: tuple[int, int, int] = (15, 20, 8)) -> tuple[np.ndarray, np.ndarray]:
    """Make a liver of 110 HU with noise and a ball in it, beside a spleen of 120 HU."""
    tissues = np.zeros(SHAPE, np.uint8)
    tissues[3:32, 4:36, 1:15] = LABELS["liver"]
    tissues[36:46, 4:36, 1:15] = LABELS["spleen"]
    hu = np.array([-1000, 110, 120, 180, 150], np.float32)[tissues]
    hu += np.random.default_rng(0).normal(0, 8, SHAPE).astype(np.float32)
    away = np.stack(np.indices(SHAPE), axis=-1) - at
    hu[np.linalg.norm(away * SPACING, axis=-1) <= radius] += contrast
    return hu, tissues


@settings(max_examples=8, deadline=None)
@given(
    contrast=st.sampled_from([-60.0, -40.0, 40.0, 60.0]),
    radius=st.floats(6, 12),
    x=st.integers(9, 25),
    y=st.integers(11, 28),
    offset=st.floats(-40, 40),
)
def test_a_spot_is_marked_first_whatever_the_brightness(
    contrast: float, radius: float, x: int, y: int, offset: float
) -> None:
    hu, tissues = scan(contrast, radius, (x, y, 8))
    first, *others = read_scan(hu + np.float32(offset), tissues, LABELS, SPACING)
    assert np.linalg.norm((np.array(first.place) - (x, y, 8)) * SPACING) < 6
    assert np.sign(first.contrast) == np.sign(contrast)
    assert abs(first.contrast) > 10
    assert all(first.score >= other.score for other in others)


def test_marks_lie_in_organs_and_apart() -> None:
    hu, tissues = scan(0, 1)
    marks = read_scan(hu, tissues, LABELS, SPACING)
    assert marks and all(tissues[mark.place] in (1, 2) for mark in marks)
    places = np.array([mark.place for mark in marks if tissues[mark.place] == 1]) * SPACING
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 99 * np.eye(len(places))
    assert apart.min() > 3.5
    assert max(mark.score for mark in marks) < 6


def test_the_kidneys_own_layers_are_no_spots() -> None:
    tissues = np.zeros(SHAPE, np.uint8)
    tissues[3:40, 4:36, 1:15] = LABELS["kidney_cortex"]
    tissues[10:33, 11:29, 4:12] = LABELS["kidney_medulla"]
    hu = np.array([-1000, 110, 120, 180, 150], np.float32)[tissues]
    assert read_scan(hu, tissues, LABELS, SPACING) == []


def test_a_spot_at_the_edge_is_not_drowned_by_what_lies_outside() -> None:
    hu, tissues = scan(0, 1)
    marks = read_scan(hu, tissues, LABELS, SPACING)
    assert max(abs(mark.contrast) for mark in marks) == pytest.approx(0, abs=12)


def test_organs_that_are_not_there() -> None:
    assert read_scan(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.uint8), LABELS, SPACING) == []
