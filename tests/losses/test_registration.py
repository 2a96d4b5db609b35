from __future__ import annotations

import pytest
import torch
from monai.losses import BendingEnergyLoss
from torch import nn

from monai_nce.losses import RegistrationLoss


def ramp(slope: float) -> torch.Tensor:
    """A displacement along the rows that grows by ``slope`` voxels with each row."""
    displacement = torch.zeros(2, 3, 5, 6, 3)
    displacement[:, 0] = slope * torch.arange(5.0).view(5, 1, 1)
    return displacement


def test_by_hand() -> None:
    moved, fixed = torch.zeros(2, 3, 5, 6), torch.full((2, 3, 5, 6), 0.25)
    # three components, each with three derivatives: one of the nine is 2, and MONAI means over components
    loss = RegistrationLoss(similarity_weight=10, smoothness_weight=3)
    assert float(loss(moved, fixed, ramp(2))) == pytest.approx(10 * 0.25 + 3 * 2**2 / 3)
    assert float(loss(fixed, fixed, ramp(0))) == 0


def test_of_other_parts() -> None:
    moved, fixed = torch.zeros(2, 3, 5, 6), torch.full((2, 3, 5, 6), 0.5)
    loss = RegistrationLoss(nn.MSELoss(), BendingEnergyLoss(), 1, 100)
    assert float(loss(moved, fixed, ramp(2))) == pytest.approx(0.25)  # a linear displacement does not bend


def test_both_arguments_have_gradients_that_the_weights_scale() -> None:
    moved, displacement = torch.zeros(1, 3, 5, 5, requires_grad=True), ramp(1.0)[:1].requires_grad_()
    RegistrationLoss(similarity_weight=0)(moved, torch.ones(1, 3, 5, 5), displacement).backward()
    assert not moved.grad.any() and displacement.grad.any()


def test_images_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        RegistrationLoss()(torch.zeros(1, 3, 5, 5), torch.zeros(1, 1, 5, 5), ramp(1))
