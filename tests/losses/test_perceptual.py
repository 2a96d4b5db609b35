from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.losses import PerceptualLoss
from monai_nce.networks import DomainClassifier


class Known(nn.Module):
    """Features that can be told by hand: map i is the image's every 2**i-th pixel, times i."""

    def features(self, x: torch.Tensor, count: int) -> list[torch.Tensor]:
        return [i * x[:, :, :: 2**i, :: 2**i] for i in range(1, count + 1)]


def classifier() -> DomainClassifier:
    torch.manual_seed(0)
    return DomainClassifier(channels=(2, 3, 4, 5, 6), head_channels=(), pooled_size=1)


def images(*shape: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pred, target = torch.rand(2, *shape, generator=generator) * 2 - 1
    return pred, target


def test_eq_4_by_hand():
    pred, target = images(2, 3, 8, 8)
    x, y = target.double().numpy(), pred.double().numpy()
    expected = 0.0
    for i, weight in ((1, 0.5), (2, 0.125)):
        phi_x, phi_y = i * x[:, :, :: 2**i, :: 2**i], i * y[:, :, :: 2**i, :: 2**i]
        _, c, h, w = phi_x.shape
        per_image = np.abs(phi_x - phi_y).sum((1, 2, 3)) / (w * h * c)
        expected += weight * per_image.mean()
    loss = PerceptualLoss(Known(), (0.5, 0.125))(pred, target)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_one_pixel_by_hand():
    target = torch.zeros(1, 1, 4, 4)
    pred = target.clone()
    pred[0, 0, 0, 0] = -3.0
    # map 1 is 2 x 2, its one difference |1 * -3|; map 2 is 1 x 1, its one difference |2 * -3|
    assert PerceptualLoss(Known(), (1.0, 10.0))(pred, target).item() == pytest.approx(1.0 * 3 / 4 + 10.0 * 6)


def test_the_default_weights_are_the_papers():
    loss = PerceptualLoss(Known())
    assert loss.layer_weights == (0.03125, 0.0625, 0.125, 0.25)
    pred, target = torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    assert loss(pred, target).item() == pytest.approx(1 / 32 + 2 / 16 + 3 / 8 + 4 / 4)


def test_with_the_classifiers_own_features():
    network = classifier().eval()
    pred, target = images(2, 3, 32, 32)
    with torch.no_grad():
        maps = zip(network.features(target), network.features(pred), strict=True)
        expected = sum(
            w * np.abs(t.numpy() - p.numpy()).mean()
            for w, (t, p) in zip((1 / 32, 1 / 16, 1 / 8, 1 / 4), maps, strict=True)
        )
    loss = PerceptualLoss(network)(pred, target).item()
    assert loss > 0
    assert loss == pytest.approx(float(expected), rel=1e-4)


def test_identical_images_cost_nothing():
    pred, _ = images(2, 3, 32, 32)
    assert PerceptualLoss(classifier())(pred, pred.clone()).item() == 0


def test_exchanging_the_images_changes_nothing():
    pred, target = images(2, 3, 32, 32)
    loss = PerceptualLoss(classifier())
    assert loss(pred, target).item() == pytest.approx(loss(target, pred).item())


def test_gradient_reaches_the_prediction_only():
    network = classifier()
    pred, target = (image.requires_grad_() for image in images(2, 3, 32, 32))
    PerceptualLoss(network)(pred, target).backward()
    assert (pred.grad.abs().amax((1, 2, 3)) > 0).all()
    assert target.grad is None
    assert all(p.grad is None for p in network.parameters())


def test_gradient_by_hand():
    pred, target = torch.tensor([[[[2.0, 0.0], [0.0, 0.0]]]], requires_grad=True), torch.zeros(1, 1, 2, 2)
    PerceptualLoss(Known(), (0.5,))(pred, target).backward()
    # the single value of map 1 is the first pixel: d/dp 0.5 |p| = 0.5
    assert pred.grad.tolist() == [[[[0.5, 0.0], [0.0, 0.0]]]]


@pytest.mark.parametrize("registered", ["loss", "network"])
def test_the_network_stays_bit_identical(registered):
    """Its weights and its batch norms' statistics, in whatever mode others put it."""
    network = classifier()
    loss = PerceptualLoss(network)
    generator = nn.Conv2d(3, 3, kernel_size=1)
    before = copy.deepcopy(network.state_dict())
    # an optimizer that was handed everything, with weight decay, which moves a weight of zero gradient too
    optimizer = torch.optim.AdamW([*generator.parameters(), *network.parameters()], lr=0.1, weight_decay=0.1)
    start = copy.deepcopy(generator.state_dict())
    _, target = images(2, 3, 32, 32)
    for _ in range(2):
        loss.train()
        network.train()
        network.requires_grad_(registered == "network")
        optimizer.zero_grad()
        loss(generator(target), target).backward()
        optimizer.step()
    assert any(not torch.equal(start[name], value) for name, value in generator.state_dict().items())
    after = network.state_dict()
    assert {"blocks.0.1.running_mean", "blocks.0.1.num_batches_tracked"} <= set(after)
    assert not [name for name, value in before.items() if not torch.equal(value, after[name])]


def test_the_result_does_not_depend_on_the_mode():
    network = classifier()
    loss, (pred, target) = PerceptualLoss(network), images(2, 3, 32, 32)
    evaluated = loss.eval()(pred, target).item()
    loss.train()
    network.train()
    assert loss(pred, target).item() == evaluated


def test_a_network_still_in_training_may_be_handed_over():
    """Stage 0 trains the classifier after the loss was made with it."""
    network = classifier()
    PerceptualLoss(network)
    assert network.training
    assert all(p.requires_grad for p in network.parameters())


def test_half_the_batch_each():
    """The expectation is the mean over the batch."""
    loss, (pred, target) = PerceptualLoss(classifier()), images(4, 3, 32, 32)
    halves = [loss(pred[k : k + 2], target[k : k + 2]).item() for k in (0, 2)]
    assert loss(pred, target).item() == pytest.approx(np.mean(halves), rel=1e-5)


def test_no_weights():
    with pytest.raises(ValueError, match="at least one layer weight"):
        PerceptualLoss(Known(), ())


def test_more_weights_than_the_classifier_has_maps_show_before_any_training():
    classifier = DomainClassifier(channels=(4, 4, 8, 8, 8), head_channels=(), pooled_size=1)
    PerceptualLoss(classifier, [1.0] * 5)
    with pytest.raises(InputError, match="layer_weights: expected at most 5, one per feature map, but got 6"):
        PerceptualLoss(classifier, [1.0] * 6)


def test_fewer_maps_than_weights():
    class Short(Known):
        def features(self, x, count):
            return super().features(x, count)[:-1]

    with pytest.raises(ValueError):
        PerceptualLoss(Short())(*images(1, 1, 16, 16))


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (2, 3, 1, 1), (2, 1, 32, 32), (2, 3, 32, 64), (3, 32, 32)])
def test_shapes_that_differ(shape):
    """Nothing is broadcast: a target that fits by chance is a fault."""
    with pytest.raises(ValueError, match="shape"):
        PerceptualLoss(Known(), (1.0,))(torch.zeros(2, 3, 32, 32), torch.zeros(shape))
