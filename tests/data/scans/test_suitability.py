from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.suitability import arm, head, legs
from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.data.scans.reader import read_ct
from monai_nce.data.scans.suitability import Profile, doubts
from monai_nce.phantom import PhantomPatient, make_phantom_patient

FIGURES = {head: "a head", arm: "an arm or a leg", legs: "an arm or a leg"}
slow = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])


def chest(slices: int, below: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A trunk with two lungs in its upper slices and none in those ``below``."""
    x, y = np.meshgrid(np.arange(128) - 64, np.arange(128) - 64, indexing="ij")
    plane = np.where(np.hypot(x / 1.4, y) < 40, 45.0, -1000.0)
    plane[(np.hypot(x / 1.4, y) < 40) & (np.hypot(x / 1.4, y) > 36)] = -100
    plane[np.hypot(x, y + 25) < 6] = 400
    with_lungs = plane.copy()
    for side in (-1, 1):
        with_lungs[np.hypot(x - side * 26, y / 1.3) < 15] = -850
    planes = [plane] * below + [with_lungs] * slices
    return np.stack(planes, axis=-1).astype(np.float32), np.diag([2.7, 2.7, 5.0, 1.0])


@pytest.mark.parametrize("index", range(2))
def test_abdomens_are_not_doubted(index: int) -> None:
    patient = phantom(index)
    assert doubts(patient.nect, patient.affine) == []
    assert doubts(patient.cect, patient.affine, enhanced_ok=True) == []
    (said,) = doubts(patient.cect, patient.affine)
    assert said.startswith("seems to show contrast medium already: ")
    assert "ml of soft tissue at 95 to 450 HU" in said


@cache
def phantom(index: int) -> PhantomPatient:
    return make_phantom_patient(index)


@slow
@given(st.integers(0, 3), st.integers(0, 31), st.integers(1, 32))
def test_no_slab_of_an_abdomen_is_doubted(index: int, start: int, many: int) -> None:
    patient = phantom(index)
    assert doubts(patient.nect[..., start : start + many], patient.affine) == []


@pytest.mark.parametrize("make", FIGURES)
@slow
@given(seed=st.integers(0, 2**32))
def test_heads_and_limbs_are_doubted(make, seed: int) -> None:
    said = doubts(*make(np.random.default_rng(seed)))
    assert any(f"seems to show {FIGURES[make]}" in line for line in said)


@pytest.mark.parametrize(("below", "doubted"), [(0, True), (2, True), (8, False), (20, False)])
def test_a_chest_alone_is_doubted(below: int, doubted: bool) -> None:
    said = doubts(*chest(20, below))
    assert any("seems to show a chest alone: lung fills" in line for line in said) is doubted
    assert len(said) == doubted


def test_what_lies_above_the_lungs_is_no_abdomen() -> None:
    """Shoulders above a chest."""
    hu, affine = chest(20, 10)
    scan = CoarseScan.of(hu[..., ::-1], affine)
    assert Profile.of(scan).kinds == ("chest",) * 20 + ("neck",) * 10
    assert "chest alone" in Profile.of(scan).doubt()


def test_a_windowed_scan_is_doubted() -> None:
    patient = make_phantom_patient(0, size=64, slices=8)
    (said,) = doubts(np.clip(patient.nect, -160, 240), patient.affine)
    assert "are -160 HU and none lower: it was windowed" in said


def test_water_in_a_bottle_is_doubted() -> None:
    hu, affine = chest(0, 20)
    said = doubts(np.where(hu > -500, 0, hu), affine)
    assert said == ["holds no fat and no bone: not a patient's CT"]


@slow
@given(
    arrays(np.float32, st.tuples(*3 * [st.integers(1, 12)]), elements=st.floats(-1024, 3000, width=32)),
    st.permutations(range(3)),
    st.lists(st.sampled_from([-3.0, -0.5, 0.9, 5.0, 20.0]), min_size=3, max_size=3),
)
def test_any_volume_can_be_looked_at(hu: np.ndarray, order: list[int], sides: list[float]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.diag(sides)[:, order]
    assert all(isinstance(line, str) and "\n" not in line for line in doubts(hu, affine))


def test_a_small_piece_is_not_judged() -> None:
    assert doubts(np.random.default_rng(0).integers(-1000, 1500, (7, 6, 5)).astype(np.float32), np.eye(4)) == []


def test_real_scans(real_data: Path) -> None:
    for path in ("nect_abdomen/ct.nii.gz", "real_scans/nect_acrin_flt.nii.gz"):
        assert doubts(*read_ct(real_data / path)) == []
    for path in ("cect_abdomen_dicom/series", "real_scans/cect_tcga_ov.nii.gz", "real_scans/cect_cptac_pda.nii.gz"):
        (said,) = doubts(*read_ct(real_data / path))
        assert "contrast medium" in said
    (said,) = doubts(*read_ct(real_data / "pair_2d_dicom" / "19001229-053.dcm"))
    assert "a chest alone" in said
