from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from monai_nce.losses import PerceptualLoss, ReconstructionLoss
from monai_nce.networks import DomainClassifier


class Constant(nn.Module):
    """Stands for Eq. 4 with a known value."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return pred.new_tensor(self.value)


class Signed(nn.Module):
    """Tells which image came first."""

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (pred - target).mean()


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.rand(2, 2, 3, 32, 32, generator=generator) * 2 - 1
    return pred, target


def test_eq_3_and_eq_5_by_hand():
    pred = torch.tensor([[[[1.0, -1.0]], [[0.5, 0.0]], [[0.0, 0.25]]]])  # one image of three slices of 1 x 2
    target = torch.tensor([[[[0.0, -1.0]], [[1.0, 0.0]], [[0.0, -0.25]]]])
    l1 = (1.0 + 0.0 + 0.5 + 0.0 + 0.0 + 0.5) / 6
    assert ReconstructionLoss(Constant(0.0), l1_weight=1.0)(pred, target).item() == pytest.approx(l1)
    assert ReconstructionLoss(Constant(0.7))(pred, target).item() == pytest.approx(10 * l1 + 0.7)
    assert ReconstructionLoss(Constant(0.7), l1_weight=2.5)(pred, target).item() == pytest.approx(2.5 * l1 + 0.7)


def test_l1_against_numpy():
    pred, target = images()
    expected = np.abs(pred.double().numpy() - target.double().numpy()).mean()
    loss = ReconstructionLoss(Constant(0.0), l1_weight=1.0)(pred, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_perceptual_loss_gets_the_prediction_first():
    loss = ReconstructionLoss(Signed(), l1_weight=0.0)
    assert loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).item() == 1


def test_identical_images_cost_nothing_and_others_do():
    torch.manual_seed(0)
    network = DomainClassifier(channels=(2, 3, 4, 5, 6), head_channels=(), pooled_size=1)
    loss, (pred, target) = ReconstructionLoss(PerceptualLoss(network)), images()
    assert loss(pred, pred.clone()).item() == 0
    l1 = (pred - target).abs().mean().item()
    assert loss(pred, target).item() > 10 * l1


def test_gradient_by_hand():
    pred = torch.tensor([[[[1.0, -2.0, 0.5, 0.0]]]], requires_grad=True)
    target = torch.tensor([[[[0.0, 0.0, 1.0, -1.0]]]])
    ReconstructionLoss(Constant(1.0))(pred, target).backward()
    # 10 / 4 times the sign of the difference
    assert pred.grad.flatten().tolist() == [2.5, -2.5, -2.5, 2.5]


def test_gradient_comes_from_both_terms_and_leaves_the_network_alone():
    torch.manual_seed(0)
    network = DomainClassifier(channels=(2, 3, 4, 5, 6), head_channels=(), pooled_size=1)
    gradients = []
    for l1_weight in (0.0, 10.0):
        pred, target = images()
        pred.requires_grad_()
        ReconstructionLoss(PerceptualLoss(network), l1_weight)(pred, target).backward()
        gradients.append(pred.grad)
    assert gradients[0].abs().max() > 0
    l1_part = 10 * np.sign(images()[0].numpy() - images()[1].numpy()) / images()[0].numel()
    np.testing.assert_allclose(gradients[1] - gradients[0], l1_part, atol=1e-7)
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (2, 1, 32, 32), (2, 3, 1, 1), (2, 3, 16, 32), (3, 32, 32)])
def test_shapes_that_differ(shape):
    """Nothing is broadcast: a target that fits by chance is a fault."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="shape"):
            ReconstructionLoss(Constant(0.0))(torch.zeros(2, 3, 32, 32), torch.zeros(shape))
