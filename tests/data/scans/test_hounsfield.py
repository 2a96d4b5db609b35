"""Drawn CTs are taken for HU whatever is in them and wherever they are cut; what files do to them is found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monai_nce.data.scans.hounsfield import why_not_hounsfield
from monai_nce.phantom import make_phantom_patient

Values = np.ndarray


def ellipse(shape: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> np.ndarray:
    x, y = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    return ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 < 1


@st.composite
def scans(draw: st.DrawFn) -> Values:
    """A body of any size with fat, lungs, spine, vessels and metal, or without, under much or little noise."""
    shape = draw(st.tuples(st.integers(32, 64), st.integers(32, 64), st.integers(2, 6)))
    plane = np.full(shape[:2], draw(st.sampled_from([-1000.0, -1024.0, -990.0])))
    width, height = draw(st.floats(0.35, 0.95)), draw(st.floats(0.35, 0.8))
    fat = draw(st.floats(0.01, 0.2))
    plane[ellipse(shape[:2], (0, 0), (width, height))] = -100
    plane[ellipse(shape[:2], (0, 0), (width - fat, height - fat))] = draw(st.integers(30, 60))
    for side in (-1, 1):
        if draw(st.booleans()):
            plane[ellipse(shape[:2], (side * width / 2, 0), (width / 4, height / 3))] = draw(st.integers(-900, -750))
    plane[ellipse(shape[:2], (0, -height / 2), (0.1, 0.1))] = draw(st.integers(150, 900))
    plane[ellipse(shape[:2], (0, 0), (0.08, 0.08))] = draw(st.integers(35, 350))
    if draw(st.integers(0, 4)) == 0:
        plane[ellipse(shape[:2], (0.2, 0), (0.05, 0.05))] = 3071
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    volume = np.repeat(plane[..., None], shape[2], 2) + rng.normal(0, draw(st.floats(2, 80)), shape)
    volume = np.maximum(volume, -1024) if draw(st.booleans()) else volume
    return np.rint(volume).astype(np.float32)


@settings(suppress_health_check=[HealthCheck.too_slow])  # drawing is slow beside other processes
@given(scans(), st.data())
def test_a_ct_is_accepted_whole_and_in_parts(hu: Values, data: st.DataObject) -> None:
    assert why_not_hounsfield(hu) == ""
    sides = [data.draw(st.integers(1, size)) for size in hu.shape]
    starts = [data.draw(st.integers(0, size - side)) for size, side in zip(hu.shape, sides, strict=True)]
    box = hu[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))]
    if box.min() < 0 and np.mean(box > -900) > 0.05:  # else it is all tissue, or all air
        assert why_not_hounsfield(box) == ""


def stray(values: Values) -> Values:
    """One voxel below 0."""
    values = values.copy()
    values[0, 0, 0] = -1
    return values


def padded(values: Values) -> Values:
    values = values.copy()
    values[:, :4] = -2000
    return values


FAULTS: dict[str, tuple[Callable[[Values], Values], str]] = {
    "raw": (lambda hu: stray(np.maximum(hu + 1024, 0)), ""),
    "raw, padded": (lambda hu: padded(np.maximum(hu + 1024, 0)), ""),
    "raw, noise below 0": (lambda hu: hu + 1000, ""),
    "raw, another offset": (lambda hu: stray(hu + 8192), "as fat and soft tissue do"),
    "wrapped": (lambda hu: (hu + 1) % 4096 - 1, ""),
    "twice": (lambda hu: hu - 1024, ""),
    "sign turned": (lambda hu: -hu, ""),
    "sign dropped": (lambda hu: stray(np.abs(hu)), ""),
    "window to [-1, 1]": (lambda hu: np.clip((hu - 50) / 150, -1, 1), "they were scaled"),
    "z-score": (lambda hu: (hu - hu.mean()) / hu.std(), "they were scaled"),
    "a thousandth": (lambda hu: hu / 1000, "they were scaled"),
    "8-bit picture": (lambda hu: stray(np.clip((hu + 160) * 255 / 400, 0, 255).round()), ""),
    "MR, ringing": (
        lambda hu: np.where(hu < -300, 0, hu + 300) + np.random.default_rng(0).normal(0, 1.5, hu.shape),
        "",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(hu=scans())
def test_what_files_do_to_a_ct_is_found(fault: str, hu: Values) -> None:
    change, words = FAULTS[fault]
    reason = why_not_hounsfield(change(hu).astype(np.float32))
    assert reason and words in reason
    assert len(reason) < 120 and "\n" not in reason


@pytest.mark.parametrize("index", range(3))
def test_phantoms_are_ct_and_their_raw_values_are_not(index: int) -> None:
    patient = make_phantom_patient(index, size=64, slices=8)
    for hu in (patient.nect, patient.cect):
        assert why_not_hounsfield(hu) == ""
        assert why_not_hounsfield(stray(hu.astype(np.float32) + 1024))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, 52, 117], "nothing lies below 0"),
        ([-1000, 40, 65436], "a sign was lost"),
        ([-1000, 40, 3071], ""),
        ([-1, 0, 1], ""),  # too few to tell
    ],
)
def test_few_voxels_are_judged_by_their_range(values: list[float], words: str) -> None:
    reason = why_not_hounsfield(np.array(values, dtype=np.float32).reshape(1, 1, 3))
    assert words in reason and bool(words) == bool(reason)
