"""The direction and the unit of what it finds, on stacks whose motion is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_nce.errors import InputError
from monai_nce.networks import StackRegistration

CHANNELS = (4, 4, 4, 4, 4, 4)


def constant(*voxels: float, moving_slices: int = 9) -> StackRegistration:
    """A network that gives the same displacement everywhere."""
    network = StackRegistration(moving_slices=moving_slices, channels=CHANNELS)
    network.unet.final_conv.bias.data = torch.tensor(voxels).repeat_interleave(3)
    return network.eval()


def stacks(height: int = 32, width: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 9, height, width, generator=random), torch.rand(2, 3, height, width, generator=random)


def test_untrained_it_gives_the_middle_slices_as_they_are() -> None:
    moving, fixed = stacks(32, 48)
    moved, displacement = StackRegistration(channels=CHANNELS)(moving, fixed)
    torch.testing.assert_close(moved, moving[:, 3:6], atol=1e-5, rtol=0)
    assert displacement.shape == (2, 3, 32, 48, 3) and not displacement.any()
    assert moved.is_contiguous(memory_format=torch.channels_last)


@settings(max_examples=12, deadline=None)
@given(st.integers(-4, 4), st.integers(-4, 4), st.integers(-3, 3))
def test_a_displacement_is_in_voxels_and_says_where_a_voxel_comes_from(rows: int, columns: int, slices: int) -> None:
    moving, fixed = stacks()
    with torch.no_grad():
        moved, displacement = constant(float(rows), float(columns), float(slices))(moving, fixed)
    assert displacement[0, :, 5, 6, 1].tolist() == [rows, columns, slices]
    expected = moving[:, 3 + slices : 6 + slices, 8 + rows : 24 + rows, 8 + columns : 24 + columns]
    torch.testing.assert_close(moved[:, :, 8:24, 8:24], expected, atol=1e-4, rtol=0)


def test_half_a_slice_is_the_mean_of_two_and_beyond_the_stack_its_edge_goes_on() -> None:
    moving, fixed = stacks()
    with torch.no_grad():
        moved, _ = constant(0.0, 0.0, 0.5)(moving, fixed)
        beyond, _ = constant(-100.0, 0.0, 50.0)(moving, fixed)
    torch.testing.assert_close(moved, (moving[:, 3:6] + moving[:, 4:7]) / 2, atol=1e-4, rtol=0)
    torch.testing.assert_close(beyond, moving[:, 8:, :1].expand(2, 3, 32, 32), atol=1e-4, rtol=0)


def test_a_moving_stack_may_be_as_thin_as_the_fixed_one() -> None:
    moving, fixed = stacks()
    with torch.no_grad():
        moved, _ = constant(1.0, 0.0, 0.0, moving_slices=3)(moving[:, :3], fixed)
    torch.testing.assert_close(moved[:, :, :-1], moving[:, :3, 1:], atol=1e-5, rtol=0)


def test_it_learns_a_known_shift() -> None:
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")

    def blob(row: float, column: float) -> torch.Tensor:
        return torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 40).expand(1, 3, 32, 32)

    fixed, moving = blob(15, 16), blob(17, 15)  # what lies at p lies at p + (2, -1) in the moving stack
    network = StackRegistration(moving_slices=3, channels=CHANNELS)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        moved, displacement = network(moving, fixed)
        loss = (moved - fixed).square().mean() + 0.001 * displacement.diff(dim=2).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inside = displacement.detach()[0, :, 12:19, 13:20].mean(dim=(1, 2, 3))
    torch.testing.assert_close(inside[:2], torch.tensor([2.0, -1.0]), atol=0.5, rtol=0)


@pytest.mark.parametrize(("slices", "moving"), [(1, 9), (3, 4), (2, 9), (5, 3)])
def test_numbers_of_slices_that_cannot_be_are_refused(slices: int, moving: int) -> None:
    with pytest.raises(InputError, match=f"odd numbers of slices, .* but got {slices} and {moving}"):
        StackRegistration(slices, moving, CHANNELS)
