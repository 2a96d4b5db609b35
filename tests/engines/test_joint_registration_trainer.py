"""Joint training of target network and registration: which gradient reaches which network, and what counts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from monai_nce.engines import JointRegistrationTrainer, SyntheticPair
from monai_nce.losses import RegistrationLoss
from monai_nce.networks import StackRegistration
from monai_nce.transforms import RegistrationMask


class Nets:
    """Target, auxiliary and registration network, and a batch with five slices of the source."""

    def __init__(self, kit: Any, batch: dict[str, torch.Tensor]) -> None:
        self.kit = kit(3)
        torch.manual_seed(1)
        self.registration = StackRegistration(moving_slices=5, channels=(4, 4, 4, 4, 4, 4))
        nn.init.normal_(self.registration.unet.final_conv.weight, std=0.05)  # else inner layers have no gradient yet
        ends = batch["source"][:, :1], batch["source"][:, -1:]
        self.batch = {"target": batch["target"], "source": torch.cat([ends[0], batch["source"], ends[1]], dim=1)}

    def trainer(self, **changes: Any) -> JointRegistrationTrainer:
        options = {
            "network": self.kit.network,
            "optimizer": self.kit.sgd(self.kit.network),
            "loss_function": self.kit.rec,
            "prepare_batch": SyntheticPair(self.kit.auxiliary),
            "registration": self.registration,
            "registration_optimizer": self.kit.sgd(self.registration),
            "registration_loss": RegistrationLoss(),
            "mask": RegistrationMask(largest_residual=3.0),
        }
        return JointRegistrationTrainer("cpu", 1, [self.batch], **{**options, **changes})


@pytest.fixture
def nets(kit: Any, batch: dict[str, torch.Tensor]) -> Nets:
    return Nets(kit, batch)


def nothing(moved: torch.Tensor, fixed: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    return displacement.sum() * 0


def test_it_moves_target_and_registration_network_alone(nets: Nets, equal_weights: Any) -> None:
    before = copy.deepcopy(nets)
    nets.trainer().run()
    assert not equal_weights(nets.kit.network, before.kit.network)
    assert not equal_weights(nets.registration, before.registration)
    for name in ("auxiliary", "classifier"):
        held = getattr(nets.kit, name)
        assert equal_weights(held, getattr(before.kit, name)), name
        assert all(parameter.grad is None for parameter in held.parameters()), name


@pytest.mark.parametrize("joint_gradient", [True, False])
def test_whether_eq_5_reaches_the_registration_is_a_setting(
    nets: Nets, joint_gradient: bool, equal_weights: Any
) -> None:
    before = copy.deepcopy(nets.registration)
    nets.trainer(registration_loss=nothing, joint_gradient=joint_gradient).run()
    assert equal_weights(nets.registration, before) != joint_gradient


def test_the_target_network_has_the_same_gradient_either_way(nets: Nets, equal_weights: Any) -> None:
    other = copy.deepcopy(nets)
    nets.trainer(joint_gradient=True).run()
    other.trainer(joint_gradient=False).run()
    assert equal_weights(nets.kit.network, other.kit.network)
    assert not equal_weights(nets.registration, other.registration)


def test_the_registrations_own_loss_does_not_reach_the_target_network(nets: Nets, equal_weights: Any) -> None:
    before = copy.deepcopy(nets)
    nets.trainer(loss_function=lambda pred, target: pred.sum() * 0).run()
    assert equal_weights(nets.kit.network, before.kit.network)
    assert not equal_weights(nets.registration, before.registration)


def test_the_loss_is_the_sum_of_its_parts(nets: Nets) -> None:
    parts = copy.deepcopy(nets)
    run = nets.trainer(real_weight=2.0)
    run.run()
    output = run.state.output[0]
    with torch.no_grad():
        synthetic, target = SyntheticPair(parts.kit.auxiliary)(parts.batch)
        moved, displacement = parts.registration(parts.batch["source"], synthetic)
        expected = float(RegistrationLoss()(moved, synthetic, displacement))
    assert float(output["registration_loss"]) == pytest.approx(expected, rel=1e-5)
    whole = output["synthetic_loss"] + 2 * output["real_loss"] + output["registration_loss"]
    assert float(output["loss"]) == pytest.approx(float(whole), rel=1e-5)
    torch.testing.assert_close(run.state.output[0]["image"], synthetic[0])


class Displaced(nn.Module):
    """Displaces along slices by so many of them, the middle three of the moving stack."""

    def __init__(self, slices: float) -> None:
        super().__init__()
        self.slices = nn.Parameter(torch.tensor(slices))

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        displacement = torch.zeros(len(moving), 3, *moving.shape[2:], 3)
        displacement[:, 2] = self.slices
        return fixed + 0 * self.slices, displacement


@pytest.mark.parametrize(("slices", "share"), [(0.0, 1.0), (1.4, 1.0), (1.6, 2 / 3), (-2.6, 1 / 3), (9.0, 0.0)])
def test_what_comes_from_beyond_the_moving_stack_does_not_count(nets: Nets, slices: float, share: float) -> None:
    network = Displaced(slices)
    run = nets.trainer(registration=network, registration_optimizer=torch.optim.SGD(network.parameters(), lr=0.0))
    run.run()
    assert float(run.state.output[0]["counted"]) == pytest.approx(share)
    if not share:
        assert float(run.state.output[0]["real_loss"]) == 0


def test_what_differs_by_too_much_does_not_count(nets: Nets) -> None:
    network = Displaced(0.0)
    network.forward = lambda moving, fixed: (fixed + 0.5 + 0 * network.slices, torch.zeros(2, 3, 32, 32, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    for largest, counted in ((0.6, 1.0), (0.4, 0.0)):
        changes = {"registration": network, "registration_optimizer": optimizer, "registration_loss": nothing}
        run = nets.trainer(
            mask=RegistrationMask(largest), **changes | {"registration_loss": lambda m, f, d: m.sum() * 0}
        )
        run.run()
        assert float(run.state.output[0]["counted"]) == counted
