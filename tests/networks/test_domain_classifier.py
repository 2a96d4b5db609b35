from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from monai_nce.networks import DomainClassifier


@pytest.fixture
def paper() -> DomainClassifier:
    with torch.device("meta"):
        return DomainClassifier()


def small(**kwargs) -> DomainClassifier:
    torch.manual_seed(0)
    return DomainClassifier(**{"channels": (2, 3, 4, 5, 6), "head_channels": (), "pooled_size": 1, **kwargs})


def test_it_is_vgg16_with_batch_norm(paper):
    plan = []
    for module in paper.blocks.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.kernel_size, module.padding, module.stride) == ((3, 3), (1, 1), (1, 1))
            plan.append(module.out_channels)
        elif isinstance(module, nn.MaxPool2d):
            assert (module.kernel_size, module.stride) == (2, 2)
            plan.append("M")
    # configuration D, as torchvision writes it
    assert plan == [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
    norms = [m.num_features for m in paper.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms == [width for width in plan if width != "M"]
    assert len(norms) == 13
    assert [(m.in_features, m.out_features) for m in paper.head if isinstance(m, nn.Linear)] == [
        (512 * 7 * 7, 4096),
        (4096, 4096),
        (4096, 2),
    ]
    assert [m.p for m in paper.head if isinstance(m, nn.Dropout)] == [0.5, 0.5]


def test_parameter_count_of_the_published_network():
    with torch.device("meta"):
        net = DomainClassifier(num_classes=1000)
    # torchvision's vgg16_bn has 138,365,992, among them the 4,224 biases of the convolutions before batch norms
    assert sum(p.numel() for p in net.parameters()) == 138_365_992 - 4_224


def test_features_of_the_paper(paper):
    maps = paper.features(torch.empty(2, 3, 256, 192, device="meta"))
    assert [tuple(m.shape) for m in maps] == [(2, 64, 128, 96), (2, 128, 64, 48), (2, 256, 32, 24), (2, 512, 16, 12)]


def test_features_are_the_outputs_of_the_max_pools():
    net = small().eval()
    pooled = []
    for module in net.modules():
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_hook(lambda _, args, out: pooled.append((args[0].numpy(), out.numpy())))
    x = torch.rand(2, 3, 32, 64)
    with torch.no_grad():
        net(x)
        of_forward = list(pooled)
        maps = net.features(x)
    assert len(of_forward) == 5 and len(maps) == 4
    for index, (feature_map, (before, after)) in enumerate(zip(maps, of_forward[:4], strict=True), start=1):
        np.testing.assert_array_equal(feature_map, after)
        h, w = 32 // 2**index, 64 // 2**index
        np.testing.assert_array_equal(feature_map, before.reshape(2, -1, h, 2, w, 2).max((3, 5)))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_count_of_the_features(count):
    maps = small().features(torch.rand(1, 3, 32, 32), count)
    assert [m.shape[1] for m in maps] == [2, 3, 4, 5, 6][:count]


@pytest.mark.parametrize("count", [1, 4])
def test_later_blocks_are_not_run_for_features(count):
    """They cost time, and in training they would move the statistics of their batch norms."""
    net, x = small(), torch.rand(2, 3, 32, 32)
    ran = []
    for index, block in enumerate(net.blocks):
        block.register_forward_hook(lambda *_, index=index: ran.append(index))
    net.features(x, count)
    assert ran == list(range(count))


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (50, 33)])
@pytest.mark.parametrize(
    "options", [{}, {"head_channels": (7, 8), "pooled_size": 2}, {"num_classes": 4}, {"slices": 1}]
)
def test_logits(size, options):
    logits = small(**options)(torch.rand(2, options.get("slices", 3), *size))
    assert logits.shape == (2, options.get("num_classes", 2))
    assert torch.isfinite(logits).all()


def test_gradient_reaches_every_parameter():
    net = small(head_channels=(8,), dropout=0.0)
    net(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert not [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]


def test_it_learns_to_tell_two_domains():
    net = small(channels=(4, 4, 4, 4, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    labels = torch.arange(8) % 2
    images = torch.rand(8, 3, 32, 32) * 0.1 + 0.5 * labels[:, None, None, None]
    for _ in range(25):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
    assert (net(images).argmax(1) == labels).all()


@pytest.mark.parametrize("channels", [(), (4, 4, 4, 4), (4,) * 6])
def test_a_wrong_number_of_blocks(channels):
    with pytest.raises(ValueError, match=f"expected 5 block widths but got {len(channels)}"):
        DomainClassifier(channels=channels)
