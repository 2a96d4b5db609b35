from __future__ import annotations

import numpy as np
import pytest
import torch

from data_prep.registration.voxelmorph import VoxelMorphRegistration


@pytest.fixture
def pairs(points, scan, spacing) -> list[tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]:
    """Two pairs whose upper and lower halves slide apart along x."""
    slide = np.zeros_like(points)
    slide[0] = 10 * np.tanh((points[2] - 57) / 15)
    return [(scan(points, contrast=True), scan(points + sign * slide), spacing) for sign in (1, -1)]


@pytest.mark.slow
@pytest.mark.parametrize("similarity", ["mutual_information", "mean_squares"])
def test_it_learns_to_undo_a_deformation(similarity, pairs, points, scan, error) -> None:
    method = VoxelMorphRegistration(epochs=40, progress=False, similarity=similarity)
    truth = scan(points)
    if similarity == "mean_squares":  # of one contrast
        pairs = [(truth, moving, spacing) for _, moving, spacing in pairs]
    before = [error(method.register(*pair), truth) for pair in pairs]
    method.fit(pairs)
    for (fixed, moving, spacing), was in zip(pairs, before, strict=True):
        moved = method.register(fixed, moving, spacing)
        assert moved.shape == moving.shape
        assert moved.dtype == np.float32
        assert error(moved, truth) < 0.8 * was
        assert moved.min() >= moving.min()
        assert moved.max() <= moving.max()


def test_untrained_it_is_the_affine_transform(pairs) -> None:
    method = VoxelMorphRegistration(progress=False)
    # its first weights are not quite zero
    np.testing.assert_allclose(method.register(*pairs[0]), method.affine.register(*pairs[0]), atol=4)


def test_the_displacement_is_in_voxels_of_the_scan(pairs) -> None:
    fixed, moving, spacing = pairs[0]
    method = VoxelMorphRegistration(progress=False)
    method.network.backbone.net[1][-1].conv.bias.data = torch.tensor([1.0, 0.0, -2.0])
    found = method._displacement(fixed, moving, spacing)
    assert found.shape == (3, *fixed.shape)
    # voxels of 3, 4 and 6 mm are averaged 2, 1 and 1 at a time
    np.testing.assert_allclose(found[:, 5, 5, 5], [2, 0, -2], atol=0.02)


@pytest.mark.slow
def test_the_same_twice(pairs) -> None:
    moved = []
    for _ in range(2):
        method = VoxelMorphRegistration(seed=5, epochs=1, progress=False)
        method.fit(pairs)
        moved.append(method.register(*pairs[1]))
    np.testing.assert_array_equal(*moved)
