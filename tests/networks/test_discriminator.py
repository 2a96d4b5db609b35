from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn

from monai_nce.errors import InputError
from monai_nce.losses import ThreeClassAdversarialLoss
from monai_nce.networks import Discriminator


@pytest.fixture
def paper() -> Discriminator:
    with torch.device("meta"):
        return Discriminator()


def small(**kwargs) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(**{"channels": (4, 6), "input_size": (16, 16), "num_groups": 2, **kwargs})


def maps_before_the_head(net: Discriminator, x: torch.Tensor) -> torch.Size:
    """Shape of the last layer's map after its reduction: the flattened one is the head's input."""
    seen: list[torch.Size] = []
    net.layers[-1].register_forward_hook(lambda _, args, out: seen.append(out.shape))
    net.head.register_forward_hook(lambda _, args, out: seen.append(args[0].shape))
    net(x)
    return seen


def test_plan_of_the_paper(paper):
    convolutions = [m for m in paper.modules() if isinstance(m, nn.Conv2d)]
    assert [c.in_channels for c in convolutions] == [3, 64, 128, 256, 512, 1024]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 1024, 2048]
    assert {(c.kernel_size, c.stride) for c in convolutions} == {((3, 3), (1, 1))}  # bilinear reductions, no strides
    norms = [m for m in paper.modules() if isinstance(m, nn.GroupNorm)]
    assert [(m.num_groups, m.num_channels, m.affine) for m in norms] == [
        (32, c.out_channels, True) for c in convolutions
    ]
    assert {m.negative_slope for m in paper.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert (paper.head.in_features, paper.head.out_features) == (4 * 4 * 2048, 3)


def test_parameter_count_of_the_paper(paper):
    expected = 4 * 4 * 2048 * 3 + 3
    for c_in, c_out in zip((3, 64, 128, 256, 512, 1024), (64, 128, 256, 512, 1024, 2048), strict=True):
        expected += 9 * c_in * c_out + 2 * c_out
    assert sum(p.numel() for p in paper.parameters()) == expected


@pytest.mark.parametrize(
    ("size", "last"), [((256, 256), (8, 8)), ((128, 128), (4, 4)), ((512, 512), (16, 16)), ((320, 192), (10, 6))]
)
def test_shapes_of_the_paper(size, last):
    with torch.device("meta"):
        net = Discriminator(input_size=size)
        x = torch.empty(2, 3, *size)
    before, flat = maps_before_the_head(net, x)
    assert before == (2, 2048, *last)
    assert flat == (2, last[0] // 2 * (last[1] // 2) * 2048)
    assert net(x).shape == (2, 3)


@pytest.mark.parametrize("size", [(24, 40), (17, 16), (16, 17), (8, 8), (16, 32)])
def test_images_of_another_size_are_refused(size):
    with pytest.raises(InputError, match=re.escape(f"expected images of input_size (16, 16) but got {size}")):
        small()(torch.rand(2, 3, *size))


@pytest.mark.parametrize("size", [(17, 9), (6, 7)])
def test_a_size_that_halves_to_a_fraction(size):
    logits = small(input_size=size)(torch.rand(2, 3, *size))
    assert logits.shape == (2, 3) and torch.isfinite(logits).all()


def test_a_size_that_is_not_square():
    net = small(input_size=(32, 16))
    assert net.head.in_features == 6 * 8 * 4
    assert net(torch.rand(1, 3, 32, 16)).shape == (1, 3)


def test_the_reduction_is_the_mean_of_two_by_two_pixels():
    """Bilinear by one half, corners not aligned, samples between two pixels."""
    net = small(channels=(4,), input_size=(8, 8))
    seen = []
    net.layers[0].register_forward_hook(lambda _, args, out: seen.append(out.detach().numpy().copy()))
    net.head.register_forward_hook(lambda _, args, out: seen.append(args[0].detach().numpy()))
    net(torch.rand(2, 3, 8, 8))
    expected = seen[0].reshape(2, 4, 4, 2, 4, 2).mean((3, 5)).reshape(2, -1)
    np.testing.assert_allclose(seen[1], expected, atol=1e-6)


def test_the_classes_are_those_of_the_loss():
    logits = small()(torch.rand(2, 3, 16, 16))
    assert torch.isfinite(ThreeClassAdversarialLoss().generator_loss(logits))
    assert small(num_classes=2)(torch.rand(2, 3, 16, 16)).shape == (2, 2)


def test_gradient_reaches_every_parameter_and_the_image():
    net, x = small(), torch.rand(2, 3, 16, 16, requires_grad=True)
    net(x).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert x.grad.abs().amax((1, 2, 3)).min() > 0


@pytest.mark.parametrize("training", [True, False])
def test_an_image_does_not_depend_on_the_rest_of_its_batch(training):
    net = small().train(training)
    x = torch.rand(3, 3, 16, 16)
    others = x.clone()
    others[1:] = 5 * torch.rand(2, 3, 16, 16) - 2
    with torch.no_grad():
        alone, among, among_others = net(x[:1]), net(x)[:1], net(others)[:1]
    torch.testing.assert_close(alone, among, atol=1e-5, rtol=0)
    torch.testing.assert_close(among, among_others, atol=1e-5, rtol=0)


def test_the_image_is_left_as_it_was():
    x = torch.rand(1, 3, 16, 16)
    before = x.clone()
    small()(x)
    assert torch.equal(x, before)


def test_the_whole_image_is_judged():
    """Each pixel reaches the logits: DCGAN's discriminator has no patches."""
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    small()(x)[0, 0].backward()
    assert (x.grad.abs().sum(1) > 0).all()


def test_torchscript():
    net = small().eval()
    scripted = torch.jit.script(net)
    x = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(scripted(x), net(x))


@pytest.mark.parametrize("size", [(3, 16), (16, 3)])
def test_an_input_size_that_is_too_small(size):
    with pytest.raises(ValueError, match=rf"at least 4 for 2 layers but got \({size[0]}, {size[1]}\)"):
        small(input_size=size)


@pytest.mark.parametrize("wrong", [{"channels": ()}, {"channels": (4, 0)}, {"num_groups": 0}])
def test_invalid_arguments(wrong):
    with pytest.raises(ValueError):
        small(**wrong)


def test_patches_are_judged_each_by_what_lies_around_it() -> None:
    net = small(patches=True).eval()
    x = torch.zeros(1, 3, 64, 64)
    assert net(x).shape == (1, 3, 16, 16)
    for layer in net.layers:
        layer[1] = nn.Identity()  # group norm reaches everywhere
    before = net(x)
    x[:, :, :8, :8] = 1
    changed = (net(x) != before).any(dim=1)[0]
    assert changed[0, 0]
    assert not changed[4:].any() and not changed[:, 4:].any()


def test_patches_have_a_layer_of_one_pixel_and_the_same_convolutions() -> None:
    whole, patches = small(), small(patches=True)
    assert [p.shape for p in patches.layers.parameters()] == [p.shape for p in whole.layers.parameters()]
    assert patches.head.weight.shape == (3, 6, 1, 1)


def test_spectral_norm_bounds_every_weight() -> None:
    net = small(spectral_norm=True).train()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(50)
        for _ in range(30):  # power iterations
            net(torch.zeros(1, 3, 16, 16))
    weights = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weights) == 3
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, rel=0.05)
