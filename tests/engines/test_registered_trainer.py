"""Training on registered real pairs beside synthetic ones, against losses computed by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from monai_nce.engines import RealPair, RegisteredTrainer

SOURCE = {"source_key": "synthetic_source"}


def trainer(kit: Any, batches: list[dict[str, torch.Tensor]], **changes: Any) -> RegisteredTrainer:
    options = {
        "network": kit.network,
        "optimizer": kit.sgd(changes.get("network", kit.network)),
        "loss_function": kit.rec,
        "prepare_batch": RealPair(**SOURCE),
    }
    return RegisteredTrainer("cpu", 1, batches, **{**options, **changes})


@pytest.fixture
def registered(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    mask = torch.ones(2, 3, 32, 32)
    mask[:, :, 8:16, 8:16] = 0
    return {**batch, "synthetic_source": batch["source"].flip(0), "mask": mask}


class Half(nn.Module):
    """Gives its input times a parameter that is a half."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.factor * images


def test_the_loss_by_hand(kit: Any) -> None:
    network = Half()
    flat = {key: torch.full((1, 3, 2, 2), value) for key, value in (("synthetic_source", 0.4), ("source", 0.8))}
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]]).expand(1, 3, 2, 2)
    given = {**flat, "target": torch.ones(1, 3, 2, 2), "mask": mask}
    run = trainer(kit(3), [given], network=network, loss_function=nn.L1Loss(), real_weight=3.0)
    run.run()
    output = run.state.output[0]
    assert float(output["synthetic_loss"]) == pytest.approx(1 - 0.2)
    assert float(output["real_loss"]) == pytest.approx(0.75 * (1 - 0.4))  # a quarter of the pixels counts for nothing
    assert float(output["loss"]) == pytest.approx(0.8 + 3 * 0.45)
    # the derivative by the factor: minus the input, where it counts; SGD's rate is 0.05
    assert float(network.factor.detach()) == pytest.approx(0.5 + 0.05 * (0.4 + 3 * 0.75 * 0.8))


def test_a_masked_pixel_changes_nothing(kit: Any, registered: dict[str, torch.Tensor], equal_weights: Any) -> None:
    one = kit(3)
    other = one.copy()

    class Spoiling(nn.Module):
        """Adds to the prediction what the mask hides, of the real pairs alone."""

        def __init__(self, network: nn.Module, spoilt: torch.Tensor) -> None:
            super().__init__()
            self.network, self.spoilt = network, spoilt

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network(images) + self.spoilt

    spoilt = torch.cat([torch.zeros(2, 3, 32, 32), 5 * (1 - registered["mask"])])
    first = trainer(one, [registered])
    second = trainer(other, [registered], network=Spoiling(other.network, spoilt))
    for run in (first, second):
        run.run()
    assert float(first.state.output[0]["real_loss"]) == float(second.state.output[0]["real_loss"])
    assert equal_weights(one.network, other.network)


def test_it_moves_the_target_network_alone(kit: Any, registered: dict[str, torch.Tensor], equal_weights: Any) -> None:
    parts = kit(3)
    before = copy.deepcopy(parts)
    trainer(parts, [registered, registered]).run()
    assert not equal_weights(parts.network, before.network)
    assert equal_weights(parts.classifier, before.classifier)
    assert all(parameter.grad is None for parameter in parts.classifier.parameters())


def test_without_real_pairs_it_is_stage_2_on_synthetic_ones(
    kit: Any, registered: dict[str, torch.Tensor], equal_weights: Any
) -> None:
    parts = kit(3)
    alone = parts.copy()
    trainer(parts, [registered], real_weight=0.0).run()
    loss = alone.rec(alone.network(registered["synthetic_source"]), registered["target"])
    optimizer = alone.sgd(alone.network)
    loss.backward()
    optimizer.step()
    assert equal_weights(parts.network, alone.network, atol=1e-6)
