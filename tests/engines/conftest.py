"""Small networks and batches for the trainers of several networks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from monai_nce.losses import PerceptualLoss, ReconstructionLoss
from monai_nce.networks import Discriminator, DomainClassifier, Generator


class Kit:
    """Everything a trainer is made of; ``Kit.copy`` gives the same weights again."""

    def __init__(self, num_classes: int) -> None:
        torch.manual_seed(0)
        self.network = Generator(channels=(8, 4), hidden_channels=4, num_groups=2)
        self.auxiliary = Generator(channels=(8, 4), hidden_channels=4, num_groups=2)
        size = {"channels": (4, 8), "input_size": (32, 32), "num_groups": 2, "num_classes": num_classes}
        self.discriminator = Discriminator(**size)
        self.source_discriminator = Discriminator(**size)
        self.classifier = DomainClassifier(channels=(2, 2, 4, 4, 4), head_channels=(), pooled_size=1).eval()
        self.rec = ReconstructionLoss(PerceptualLoss(self.classifier))

    def copy(self) -> Kit:
        return copy.deepcopy(self)

    @staticmethod
    def sgd(*networks: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for network in networks for p in network.parameters()], lr=0.05)


@pytest.fixture
def kit():
    return Kit


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return {key: torch.rand(2, 3, 32, 32, generator=random) * 2 - 1 for key in ("source", "target")}


@pytest.fixture
def equal_weights():
    def compare(network: nn.Module, other: nn.Module, atol: float = 0.0) -> bool:
        pairs = zip(network.state_dict().values(), other.state_dict().values(), strict=True)
        return all(torch.allclose(a.double(), b.double(), atol=atol, rtol=0) for a, b in pairs)

    return compare
