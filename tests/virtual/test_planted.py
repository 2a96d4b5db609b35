"""Tests of planted lesions, and of twins that differ in nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monai_nce.virtual.anatomy import Anatomy, complete
from monai_nce.virtual.patient import LABELS, VirtualTwins, make_virtual_patient, make_virtual_twins
from monai_nce.virtual.physiology import sample_physiology
from monai_nce.virtual.planted import PATTERNS, WantedLesion, plant_lesions
from monai_nce.virtual.structures import STRUCTURES
from monai_nce.virtual.tissue_map import draw_tissues
from tests.virtual.anatomy_map import SPACING, torso_map

WANTED = [WantedLesion(name, (22, 30)) for name in ("shown, hypo", "cyst", "hidden, hyper", "faint, hypo")]
ROLES = ("cect", "nect", "nect_aligned")


@pytest.fixture(scope="module")
def torso() -> Anatomy:
    return complete(torso_map(), spacing=SPACING)


def twins_of(torso: Anatomy, index: int, wanted: list[WantedLesion]) -> VirtualTwins:
    return make_virtual_twins(torso, index, wanted, size=64, slices=10, phase="portal")


@pytest.fixture(scope="module")
def twins(torso: Anatomy) -> VirtualTwins:
    return next(made for index in range(9) if len((made := twins_of(torso, index, WANTED)).planted) >= 3)


def test_twins_differ_near_the_lesions_alone(twins: VirtualTwins) -> None:
    near = ndimage.binary_dilation(twins.lesions > 0, iterations=4)
    for role in ("cect", "nect_aligned", "labels"):
        healthy, ill = (getattr(patient, role) for patient in (twins.healthy, twins.ill))
        np.testing.assert_array_equal(healthy[~near], ill[~near])
        assert (healthy != ill).any()
    moved = twins.healthy.nect != twins.ill.nect
    assert 0 < moved.mean() < 0.1
    np.testing.assert_array_equal(twins.healthy.affine, twins.ill.affine)
    assert twins.healthy.note == twins.ill.note


def test_what_the_plain_scan_does_not_know_is_in_no_voxel_of_it(torso: Anatomy) -> None:
    made = twins_of(torso, 0, [WantedLesion("hidden, hyper", (22, 30))])
    assert made.planted
    inner = ndimage.binary_erosion(made.lesions > 0, iterations=1)
    difference = made.ill.cect.astype(float) - made.healthy.cect
    assert difference[inner].mean() == pytest.approx(30, abs=4)
    plain = made.ill.nect_aligned.astype(float) - made.healthy.nect_aligned
    assert np.abs(plain).max() < 4  # the vessels in it


def test_the_lesion_free_twin_is_a_patient_of_that_number(torso: Anatomy, twins: VirtualTwins) -> None:
    index = int(twins.healthy.patient[-4:])
    usual = make_virtual_patient(torso, index, size=64, slices=10, phase="portal")
    own = ("liver_metastasis", "hepatocellular_carcinoma", "haemangioma", "cyst", "renal_cell_carcinoma", "mass")
    assert not np.isin(twins.healthy.labels, [LABELS[name] for name in own]).any()
    assert usual.note == twins.healthy.note
    assert (usual.labels == twins.healthy.labels).mean() > 0.9


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(list(PATTERNS)), min_size=1, max_size=4),
    least=st.floats(8, 30),
    seed=st.integers(0, 9),
)
def test_hu_of_planted_lesions(torso: Anatomy, names: list[str], least: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = sample_physiology(rng, "portal")
    tissues = draw_tissues(torso, np.random.default_rng(1), lesions=False)
    before = tissues.hu(values)
    wanted = [WantedLesion(name, (least, least * 1.5)) for name in names]
    changed, numbers, planted = plant_lesions(torso, tissues, values, wanted, (-200, 200), rng)
    after = changed.hu(values)
    for old, new, again in zip(before, after, tissues.hu(values), strict=True):
        np.testing.assert_array_equal(old, again)
        np.testing.assert_array_equal(old[numbers == 0], new[numbers == 0])
    for number, lesion in enumerate(planted, start=1):
        where = numbers == number
        assert where.sum() * SPACING**3 == pytest.approx(np.pi / 6 * lesion.diameter**3, rel=0.01)
        same = where & (tissues.codes == LABELS["kidney_cortex" if lesion.organ == "kidney" else lesion.organ])
        pattern = PATTERNS[lesion.pattern]
        if pattern.nect is not None and pattern.cect is not None and same.any():
            nect, rise = (new[same] - old[same] for old, new in zip(before, after, strict=True))
            np.testing.assert_allclose(nect, pattern.nect, atol=0.01)
            np.testing.assert_allclose(nect + rise, pattern.cect, atol=0.01)
        elif pattern.nect is None:
            assert (changed.codes[where] == LABELS["cyst"]).all()
        assert (torso.structures[where] != STRUCTURES["background"]).all()


def test_lesions_that_fit_nowhere_are_left_out(torso: Anatomy) -> None:
    made = twins_of(torso, 0, [WantedLesion("cyst", (190, 200))])
    assert made.planted == [] and not made.lesions.any()
    for role in ROLES:
        np.testing.assert_array_equal(getattr(made.healthy, role), getattr(made.ill, role))
