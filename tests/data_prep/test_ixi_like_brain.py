from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from data_prep import ixi_like_brain
from data_prep.ixi_like_brain import make_pair
from data_prep.mri_dataset import AcquiredPair
from monai_nce.errors import InputError


@pytest.fixture(scope="module")
def subject() -> AcquiredPair:
    return make_pair(3, size=128, slices=10)


def test_the_grid_is_centred(subject: AcquiredPair) -> None:
    assert subject.t2.shape == subject.pd.shape == (128, 128, 10)
    np.testing.assert_allclose(np.diag(subject.affine), [1.875, 1.875, 8, 1])
    np.testing.assert_allclose(subject.affine @ [63.5, 63.5, 4.5, 1], [0, -18, 8, 1])


def test_a_subject_comes_back_and_others_differ(subject: AcquiredPair) -> None:
    again = make_pair(3, size=128, slices=10)
    np.testing.assert_array_equal(again.t2, subject.t2)
    np.testing.assert_array_equal(again.pd, subject.pd)
    for other in (make_pair(4, size=128, slices=10), make_pair(3, size=128, slices=10, seed=1)):
        assert abs(other.t2 - subject.t2).mean() > 0.02


def test_another_grid_shows_the_same_brain(subject: AcquiredPair) -> None:
    fine = make_pair(3, size=256, slices=10)
    binned = fine.pd.reshape(128, 2, 128, 2, 10).mean(axis=(1, 3))
    brain = subject.pd > 0.4
    assert np.corrcoef(binned[brain], subject.pd[brain])[0, 1] > 0.9
    assert abs(binned - subject.pd)[brain].mean() < 0.03


def test_tissues_have_the_contrast_of_t2_and_pd(subject: AcquiredPair) -> None:
    """In T2 water is far the brightest; in PD tissues are near each other, grey above white matter."""
    brain = subject.pd > 0.4
    t2, pd = subject.t2[brain], subject.pd[brain]
    assert 0.05 < brain.mean() < 0.5
    water = t2 > 0.5
    assert 0.02 < water.mean() < 0.4
    # the spin-echo equation with the values of the table, for CSF, grey and white matter
    wanted = {"t2": (0.71, 0.26, 0.18), "pd": (0.94, 0.78, 0.69)}
    grey, white = (t2 > 0.23) & (t2 < 0.30), (t2 > 0.13) & (t2 < 0.19)
    assert grey.mean() > 0.15 and white.mean() > 0.15
    assert np.percentile(t2[water], 90) == pytest.approx(wanted["t2"][0], abs=0.12)
    assert pd[grey].mean() == pytest.approx(wanted["pd"][1], abs=0.09)
    assert pd[white].mean() == pytest.approx(wanted["pd"][2], abs=0.09)
    assert pd[grey].mean() > pd[white].mean() + 0.03


def test_pd_is_no_function_of_t2(subject: AcquiredPair) -> None:
    brain = subject.pd > 0.4
    t2, pd = subject.t2[brain], subject.pd[brain]
    bins = np.digitize(t2, np.percentile(t2, np.arange(2, 100, 2)))
    within = sum(pd[bins == index].var() * (bins == index).sum() for index in range(50)) / len(pd)
    assert within > 0.1 * pd.var()


def test_the_background_is_noise(subject: AcquiredPair) -> None:
    """Rician without a signal is Rayleigh: mean over standard deviation is 1.91. Each scan has its own."""
    corner = (slice(0, 12), slice(0, 12))
    for scan in (subject.t2, subject.pd):
        assert scan[corner].mean() / scan[corner].std() == pytest.approx(1.91, abs=0.1)
    assert abs(np.corrcoef(subject.t2[corner].ravel(), subject.pd[corner].ravel())[0, 1]) < 0.1


def test_nilearn_is_not_imported(subject: AcquiredPair) -> None:
    """Its files are read without it: importing it costs seconds."""
    assert "nilearn" not in sys.modules


def test_without_nilearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the brain template that nilearn ships: pip install .*\[ixi-like\]"):
        ixi_like_brain._template.__wrapped__()
