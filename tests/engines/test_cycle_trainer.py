from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from monai.losses import PatchAdversarialLoss
from torch import nn
from torch.nn import functional

from monai_nce.engines import CycleTrainer, Precision


def make_trainer(kit, batch, **options) -> CycleTrainer:
    return CycleTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=[batch],
        network=kit.network,
        auxiliary=kit.auxiliary,
        target_discriminator=kit.discriminator,
        source_discriminator=kit.source_discriminator,
        optimizer=kit.sgd(kit.network),
        auxiliary_optimizer=kit.sgd(kit.auxiliary),
        target_discriminator_optimizer=kit.sgd(kit.discriminator),
        source_discriminator_optimizer=kit.sgd(kit.source_discriminator),
        **{
            "adversarial_loss": PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True),
            "cycle_loss": kit.rec,
            "decollate": False,
            **options,
        },
    )


def test_one_iteration_equals_the_losses_written_out(kit, batch, equal_weights):
    made = kit(1)
    reference = made.copy()
    trainer = make_trainer(made, batch)
    trainer.run()

    n, c = batch["source"], batch["target"]
    to_c, to_n = reference.network, reference.auxiliary
    judge_c, judge_n = reference.discriminator, reference.source_discriminator
    fake_c, fake_n = to_c(n), to_n(c)
    adversarial = ((judge_c(fake_c) - 1) ** 2).mean() + ((judge_n(fake_n) - 1) ** 2).mean()
    cycle = reference.rec(to_n(fake_c), n) + reference.rec(to_c(fake_n), c)
    optimizer = reference.sgd(to_c, to_n)
    (adversarial + cycle).backward()
    optimizer.step()
    judged = []
    for judge, real, fake in ((judge_c, c, fake_c.detach()), (judge_n, n, fake_n.detach())):
        optimizer = reference.sgd(judge)
        optimizer.zero_grad()
        judged.append(0.5 * (((judge(real) - 1) ** 2).mean() + (judge(fake) ** 2).mean()))
        judged[-1].backward()
        optimizer.step()

    for name in ("network", "auxiliary", "discriminator", "source_discriminator"):
        assert equal_weights(getattr(made, name), getattr(reference, name), atol=1e-6), name
    output = trainer.state.output
    for key, value in {
        "adversarial_loss": adversarial, "cycle_loss": cycle, "loss": adversarial + cycle,
        "discriminator_loss": sum(judged),
    }.items():  # fmt: skip
        assert float(output[key]) == pytest.approx(float(value), rel=1e-5), key


class Times(nn.Module):
    """A generator with one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


class MeanTimes(Times):
    """A discriminator with one weight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x.mean(dim=(1, 2, 3), keepdim=True).flatten(1)


def test_one_iteration_by_hand(kit):
    n, c, a, b, d_c, d_n, rate = 0.5, -0.25, 1.5, 0.5, 2.0, -1.0, 0.05
    made = SimpleNamespace(
        network=Times(a), auxiliary=Times(b), discriminator=MeanTimes(d_c), source_discriminator=MeanTimes(d_n),
        rec=lambda pred, target: 10 * functional.l1_loss(pred, target), sgd=kit.sgd,
    )  # fmt: skip
    trainer = make_trainer(made, {"source": torch.full((2, 3, 4, 4), n), "target": torch.full((2, 3, 4, 4), c)})
    trainer.run()
    # synthetic CECT 0.75, judged 1.5; synthetic NECT -0.125, judged 0.125; there and back 0.375 and -0.1875
    output = {key: float(trainer.state.output[key]) for key in ("adversarial_loss", "cycle_loss", "loss")}
    assert output == pytest.approx(
        {"adversarial_loss": 0.5**2 + 0.875**2, "cycle_loss": 10 * (0.125 + 0.0625), "loss": 2.890625}
    )
    # real CECT -0.25, judged -0.5; real NECT 0.5, judged -0.5; of the four only synthetic NECT is judged rightly
    assert float(trainer.state.output["discriminator_accuracy"]) == 0.25
    of_discriminators = (1.5**2 + 1.5**2) / 2 + (1.5**2 + 0.125**2) / 2
    assert float(trainer.state.output["discriminator_loss"]) == pytest.approx(of_discriminators)
    # adversarial, NECT there and back, CECT there and back
    gradient_a = 2 * 0.5 * d_c * n + 10 * -b * n + 10 * b * c
    gradient_b = 2 * -0.875 * d_n * c + 10 * -a * n + 10 * a * c
    gradient_d_c = (2 * -1.5 * c + 2 * 1.5 * 0.75) / 2
    gradient_d_n = (2 * -1.5 * n + 2 * 0.125 * -0.125) / 2
    for network, start, gradient in (
        (made.network, a, gradient_a), (made.auxiliary, b, gradient_b),
        (made.discriminator, d_c, gradient_d_c), (made.source_discriminator, d_n, gradient_d_n),
    ):  # fmt: skip
        assert network.weight.item() == pytest.approx(start - rate * gradient)


NETWORKS = ("network", "auxiliary", "discriminator", "source_discriminator")


@pytest.mark.parametrize(
    ("kept", "reached"),
    [
        ("generator, discriminator", {"network"}),
        ("generator, source_discriminator", {"auxiliary"}),
        ("cycle, source", {"network", "auxiliary"}),
        ("cycle, target", {"network", "auxiliary"}),
        ("real, discriminator", {"discriminator"}),
        ("synthetic, discriminator", {"discriminator"}),
        ("real, source_discriminator", {"source_discriminator"}),
        ("synthetic, source_discriminator", {"source_discriminator"}),
        ("nothing", set()),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_which_networks_each_loss_reaches(kit, batch, kept, reached, precision):
    made = kit(1)
    judges: list[str] = []
    for name in ("discriminator", "source_discriminator"):
        getattr(made, name).register_forward_hook(lambda *_, name=name: judges.append(name))
    met = set()

    def share(name: str) -> float:
        met.add(name)
        return float(name == kept)

    squares = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)

    def adversarial(logits, target_is_real, for_discriminator):
        kind = ("real" if target_is_real else "synthetic") if for_discriminator else "generator"
        return share(f"{kind}, {judges[-1]}") * squares(logits, target_is_real, for_discriminator)

    def cycle(pred, target):
        domain = next(key for key in ("source", "target") if torch.equal(target, batch[key]))
        return share(f"cycle, {domain}") * made.rec(pred, target)

    make_trainer(made, batch, adversarial_loss=adversarial, cycle_loss=cycle, precision=Precision(precision)).run()
    assert len(met) == 8 and met >= {kept} - {"nothing"}
    gradients = {name: [p.grad for p in getattr(made, name).parameters()] for name in NETWORKS}
    assert {name for name in NETWORKS if any(g is not None and g.any() for g in gradients[name])} == reached
    assert all(p.grad is None for p in made.classifier.parameters())


def test_each_step_moves_its_own_networks_alone(kit, batch, equal_weights):
    made = kit(1)
    moved: list[set[str]] = []

    def spy(optimizer: torch.optim.Optimizer) -> None:
        step = optimizer.step

        def wrapped(*args, **kwargs):
            before = made.copy()
            step(*args, **kwargs)
            moved.append({n for n in NETWORKS if not equal_weights(getattr(made, n), getattr(before, n))})

        optimizer.step = wrapped

    trainer = make_trainer(made, batch)
    for optimizer in (
        trainer.optimizer, trainer.auxiliary_optimizer,
        trainer.target_discriminator_optimizer, trainer.source_discriminator_optimizer,
    ):  # fmt: skip
        spy(optimizer)
    classifier = made.copy().classifier
    trainer.run()
    assert moved == [{"network"}, {"auxiliary"}, {"discriminator"}, {"source_discriminator"}]
    assert equal_weights(made.classifier, classifier)
    assert all(p.requires_grad for name in NETWORKS for p in getattr(made, name).parameters())


def test_the_generators_losses_leave_no_gradient_in_the_discriminators(kit, batch):
    made = kit(1)
    trainer = make_trainer(made, batch)
    trainer._train_discriminator = lambda *args: (torch.zeros(()), torch.zeros(()))  # the generators' step alone
    trainer.run()
    for network in (made.discriminator, made.source_discriminator):
        assert all(p.grad is None for p in network.parameters())


def test_handlers_see_lists(kit, batch):
    trainer = make_trainer(kit(1), batch, decollate=True)
    trainer.run()
    assert isinstance(trainer.state.output, list) and trainer.state.output[0]["pred"].shape == (3, 32, 32)
