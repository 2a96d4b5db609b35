"""Where a registration counts, against maps whose Jacobian is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.transforms import RegistrationMask

SIZE = (6, 5, 4)


def grid(size: tuple[int, int, int] = SIZE) -> torch.Tensor:
    return torch.from_numpy(np.indices(size, dtype=np.float32))[None]


def equal(size: tuple[int, int, int] = SIZE) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, 1, *size), torch.zeros(1, 1, *size)


@pytest.mark.parametrize("size", [SIZE, (6, 5, 1), (1, 1, 1)])
def test_where_nothing_moves_all_counts(size: tuple[int, int, int]) -> None:
    mask = RegistrationMask()(grid(size), *equal(size))
    assert mask.shape == (1, 1, *size) and mask.dtype == torch.bool and mask.all()


def test_a_fold_counts_for_nothing_and_its_neighbours_do() -> None:
    points = grid((9, 5, 4))
    points[:, 0] = torch.tensor([0.0, 1, 2, 5, 4, 3, 6, 7, 8]).view(1, 9, 1, 1)
    # central differences along the first axis: 1, 1, 2, 1, -1, 1, 2, 1, 1
    mask = RegistrationMask()(points, *equal((9, 5, 4)))
    assert mask[0, 0, :, 2, 2].tolist() == [True] * 4 + [False] + [True] * 4


def test_what_is_squeezed_to_nothing_counts_for_nothing() -> None:
    points = grid()
    points[:, 1] = 2.0
    assert not RegistrationMask()(points, *equal()).any()


def test_what_comes_from_half_a_voxel_beyond_the_moving_image_counts_for_nothing() -> None:
    points = grid()
    points[:, 2] += 0.6
    assert RegistrationMask()(points, *equal())[0, 0, 3, 3].tolist() == [True, True, True, False]
    assert RegistrationMask()(points, *equal(), moving_size=(6, 5, 9)).all()
    points[:, 2] -= 1.2
    assert RegistrationMask()(points, *equal())[0, 0, 3, 3].tolist() == [False, True, True, True]


def test_what_differs_by_more_than_the_threshold_counts_for_nothing() -> None:
    moved, fixed = equal()
    moved[..., 1], moved[..., 2], fixed[..., 3] = 0.25, 0.75, 0.75
    mask = RegistrationMask(largest_residual=0.5)(grid(), moved, fixed)
    assert mask[0, 0].all(dim=0).all(dim=0).tolist() == [True, True, False, False]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=9, max_size=9))
def test_of_a_linear_map_the_determinant_s_sign_decides(entries: list[float]) -> None:
    matrix = np.reshape(np.array(entries, dtype=np.float32), (3, 3))
    determinant = float(np.linalg.det(matrix.astype(float)))
    if abs(determinant) < 1e-3:
        return
    points = torch.from_numpy(np.tensordot(matrix, grid()[0].numpy(), axes=1))[None] + 100
    mask = RegistrationMask()(points, *equal(), moving_size=(1000, 1000, 1000))
    assert bool(mask.all()) == bool(mask.any()) == (determinant > 0)
