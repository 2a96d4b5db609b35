"""Probes are undone: what rose with an organ comes back to it."""

from __future__ import annotations

import numpy as np
import pytest
from nibabel.affines import apply_affine

from benchmarks.probes import PROBES, Brightened, Cropped, Mirrored, Shifted, Turned

SHAPE = (60, 50, 9)
AFFINE = np.array([[2.0, 0, 0, -60], [0, 2.5, 0, -60], [0, 0, 5, 10], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    """Tissue with one organ, which is in no middle."""
    hu = np.full(SHAPE, -1024.0, dtype=np.float32)
    hu[8:52, 8:42] = 40
    hu[20:32, 15:22, 2:6] = 60
    return hu


@pytest.mark.parametrize("name", PROBES)
def test_what_follows_the_organ_comes_back_to_it(scan, name):
    probe = PROBES[name]
    hu, affine = probe.apply(scan, AFFINE)
    added = getattr(probe, "hu", 0)
    back = probe.undo(np.where(hu > 50 + added, 100.0, 0.0), SHAPE, AFFINE)
    assert back.shape == SHAPE
    organ, around = scan == 60, scan == 40
    # turning blurs the edges
    organ[[20, 31]], organ[:, [15, 21]], around[18:34, 13:24] = False, False, False
    around[:14], around[46:], around[:, :14], around[:, 36:] = False, False, False, False
    seen = np.isfinite(back)
    assert seen[organ].mean() > 0.3
    np.testing.assert_allclose(back[organ & seen], 100, atol=1e-3)
    np.testing.assert_allclose(back[around & seen], 0, atol=1e-3)


def test_what_stays_where_it_was_does_not(scan):
    """A network that brightens a place of the image, not an organ."""
    organ = scan == 60
    for probe in (Mirrored(), Mirrored((0, 1)), Turned(15.0), Shifted(40.0)):
        hu, _ = probe.apply(scan, AFFINE)
        rise = np.zeros(hu.shape)
        rise[tuple(slice(n) for n in SHAPE)] = np.where(organ, 100.0, 0.0)[tuple(slice(n) for n in hu.shape)]
        assert np.nanmean(probe.undo(rise, SHAPE, AFFINE)[organ]) < 85


def test_voxels_keep_their_places_in_mm(scan):
    """Of what is cut off or added the affine knows; a mirrored or turned body is another one to it."""
    where = np.array([25, 18, 4])
    for probe in (Shifted(40.0), Shifted(-40.0, axis=1), Cropped((0.8, 0.6, 0.5))):
        hu, affine = probe.apply(scan, AFFINE)
        there = apply_affine(np.linalg.inv(affine), apply_affine(AFFINE, where))
        assert there == pytest.approx(np.rint(there))
        assert hu[tuple(np.rint(there).astype(int))] == scan[tuple(where)]


def test_a_shift_moves_the_body_from_the_middle(scan):
    hu, _ = Shifted(40.0).apply(scan, AFFINE)
    body = np.flatnonzero((hu > -1000).any(axis=(1, 2)))
    assert 2.0 * ((body[0] + body[-1]) / 2 - (hu.shape[0] - 1) / 2) == pytest.approx(40.0)


def test_air_is_no_brighter(scan):
    hu, _ = Brightened(10.0).apply(scan, AFFINE)
    assert hu.min() == -1024 and hu[25, 18, 4] == 70


def test_a_mirror_image_may_differ_more():
    assert PROBES["mirrored"].tolerance == PROBES["feet first"].tolerance == 20
    assert PROBES["turned by 180°"].tolerance == PROBES["cropped"].tolerance == 15
