from __future__ import annotations

import itertools

import numpy as np
import pytest

from monai_nce.data.scans.coarse import CoarseScan
from monai_nce.phantom import make_phantom_patient


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_a_scan_is_the_same_however_it_is_stored(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    patient = make_phantom_patient(0, size=64, slices=6)
    expected = CoarseScan.of(patient.nect, patient.affine)
    turned = patient.nect[tuple(slice(None, None, sign) for sign in signs)].transpose(order)
    affine = patient.affine.copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (patient.nect.shape[axis] - 1)
            affine[:3, axis] *= -1
    scan = CoarseScan.of(turned, affine[:, [*order, 3]])
    np.testing.assert_array_equal(scan.hu, expected.hu)
    np.testing.assert_array_equal(scan.body, expected.body)
    np.testing.assert_allclose(scan.spacing, expected.spacing)


def test_small_voxels_are_averaged_and_thin_slices_left_out() -> None:
    volume = np.random.default_rng(0).normal(0, 100, (41, 41, 12))
    scan = CoarseScan.of(volume, np.diag([1.0, 0.6, 1.0, 1.0]))
    np.testing.assert_allclose(scan.spacing, [3, 2.4, 6])
    assert scan.hu.shape == (13, 10, 2)
    blocks = volume[:39, :40].reshape(13, 3, 10, 4, 4, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(scan.hu, blocks[..., ::2], rtol=1e-4, atol=1e-4)
    assert scan.voxel_ml == pytest.approx(3 * 2.4 * 6 / 1000)


def test_mean_and_deviation_are_those_of_nine_neighbours() -> None:
    volume = np.random.default_rng(0).normal(40, 10, (9, 8, 3)).astype(np.float32)
    mean, deviation = CoarseScan.of(volume, np.diag([3.0, 3, 5, 1])).mean_and_deviation()
    around = volume[3:6, 2:5, 1]
    assert mean[4, 3, 1] == pytest.approx(around.mean(), abs=1e-3)
    assert deviation[4, 3, 1] == pytest.approx(around.std(), abs=1e-2)
