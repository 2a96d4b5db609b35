from __future__ import annotations

import pytest
import torch
from monai.losses import PatchAdversarialLoss

from monai_nce.engines import CycleTrainer


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
        adversarial_loss=PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True),
        cycle_loss=kit.rec,
        **{"decollate": False, **options},
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


def test_each_step_moves_its_own_networks_alone(kit, batch, equal_weights):
    made = kit(1)
    names = ("network", "auxiliary", "discriminator", "source_discriminator")
    moved: list[set[str]] = []

    def spy(optimizer: torch.optim.Optimizer) -> None:
        step = optimizer.step

        def wrapped(*args, **kwargs):
            before = made.copy()
            step(*args, **kwargs)
            moved.append({n for n in names if not equal_weights(getattr(made, n), getattr(before, n))})

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
    assert all(p.requires_grad for name in names for p in getattr(made, name).parameters())


def test_the_generators_losses_leave_no_gradient_in_the_discriminators(kit, batch):
    made = kit(1)
    trainer = make_trainer(made, batch)
    trainer._train_discriminator = lambda *args: torch.zeros(())  # the generators' step alone
    trainer.run()
    for network in (made.discriminator, made.source_discriminator):
        assert all(p.grad is None for p in network.parameters())


def test_handlers_see_lists(kit, batch):
    trainer = make_trainer(kit(1), batch, decollate=True)
    trainer.run()
    assert isinstance(trainer.state.output, list) and trainer.state.output[0]["pred"].shape == (3, 32, 32)
