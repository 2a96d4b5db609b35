from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_nce.losses import ThreeClassAdversarialLoss

REAL_C, REAL_N, SYNTHETIC = 0, 1, 2
OF_C = np.array([[2.0, 0.5, -1.0], [0.0, 1.0, 3.0]])
OF_N = np.array([[-1.0, 2.0, 0.0], [0.3, 0.2, 0.1]])
OF_S = np.array([[1.0, -2.0, 0.5], [0.0, 4.0, -1.0]])


def cross_entropy(logits: np.ndarray, label: int) -> float:
    """``-log softmax(logits)[label]``, mean over the batch."""
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return float(-np.log(probabilities[:, label]).mean())


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.tensor(a, requires_grad=True) for a in arrays]


def test_eq_1():
    loss = ThreeClassAdversarialLoss().discriminator_loss(*tensors(OF_C, OF_N, OF_S))
    expected = cross_entropy(OF_C, REAL_C) + cross_entropy(OF_S, SYNTHETIC) + cross_entropy(OF_N, REAL_N)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_eq_2():
    loss = ThreeClassAdversarialLoss().generator_loss(*tensors(OF_S))
    assert loss.shape == ()
    # the generator wants its images taken for real ones of the output domain
    assert loss.item() == pytest.approx(cross_entropy(OF_S, REAL_N), abs=1e-9)


def test_logits_without_preference():
    """Each of the three cross-entropies is log 3."""
    zeros = torch.zeros(4, 3)
    loss = ThreeClassAdversarialLoss()
    assert loss.discriminator_loss(zeros, zeros, zeros).item() == pytest.approx(3 * np.log(3))
    assert loss.generator_loss(zeros).item() == pytest.approx(np.log(3))


def test_a_sure_discriminator_pays_nothing_and_a_sure_generator_neither():
    sure = 100 * torch.eye(3)
    loss = ThreeClassAdversarialLoss()
    assert loss.discriminator_loss(sure[[REAL_C]], sure[[REAL_N]], sure[[SYNTHETIC]]).item() == 0
    assert loss.generator_loss(sure[[REAL_N]]).item() == 0
    assert loss.generator_loss(sure[[SYNTHETIC]]).item() == pytest.approx(100)
    assert loss.generator_loss(sure[[REAL_C]]).item() == pytest.approx(100)


def test_each_expectation_is_over_its_own_batch():
    loss = ThreeClassAdversarialLoss().discriminator_loss(*tensors(OF_C[:1], OF_N, np.repeat(OF_S, 3, axis=0)))
    expected = cross_entropy(OF_C[:1], REAL_C) + cross_entropy(OF_S, SYNTHETIC) + cross_entropy(OF_N, REAL_N)
    assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_gradient_is_the_softmax_less_the_label():
    of_c, of_n, of_s = tensors(OF_C, OF_N, OF_S)
    ThreeClassAdversarialLoss().discriminator_loss(of_c, of_n, of_s).backward()
    for given, label in ((of_c, REAL_C), (of_n, REAL_N), (of_s, SYNTHETIC)):
        logits = given.detach().numpy()
        softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        np.testing.assert_allclose(given.grad, (softmax - np.eye(3)[label]) / len(logits), atol=1e-9)


def test_large_logits_stay_finite():
    large = torch.tensor([[1e4, -1e4, 0.0]])
    assert ThreeClassAdversarialLoss().generator_loss(large).item() == pytest.approx(2e4)


def test_of_patches_the_mean_is_over_places_too():
    patches = np.stack([OF_C, OF_N], axis=-1)[:, :, None]  # (2, 3, 1, 2)
    loss = ThreeClassAdversarialLoss()
    expected = (cross_entropy(OF_C, REAL_N) + cross_entropy(OF_N, REAL_N)) / 2
    assert loss.generator_loss(torch.tensor(patches)).item() == pytest.approx(expected, abs=1e-9)
    of_discriminator = loss.discriminator_loss(*[torch.tensor(patches)] * 3).item()
    each = [(cross_entropy(OF_C, label) + cross_entropy(OF_N, label)) / 2 for label in (REAL_C, REAL_N, SYNTHETIC)]
    assert of_discriminator == pytest.approx(sum(each), abs=1e-9)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 4), (2, 3, 1), (2, 4, 4, 4)])
def test_wrong_shapes(shape):
    loss, right, wrong = ThreeClassAdversarialLoss(), torch.zeros(2, 3), torch.zeros(shape)
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\) but got \(" + ", ".join(map(str, shape))):
        loss.generator_loss(wrong)
    for position in range(3):
        arguments = [right, right, right]
        arguments[position] = wrong
        with pytest.raises(ValueError, match=r"\(B, 3\)"):
            loss.discriminator_loss(*arguments)
