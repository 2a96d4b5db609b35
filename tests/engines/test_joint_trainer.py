from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from monai_nce.engines import JointTrainer, Precision
from monai_nce.losses import ThreeClassAdversarialLoss

INPUT, OUTPUT, SYNTHETIC = 0, 1, 2


def make_trainer(kit, batch, **options) -> JointTrainer:
    return JointTrainer(
        device="cpu",
        max_epochs=1,
        generator=kit.auxiliary,
        discriminator=kit.discriminator,
        generator_optimizer=kit.sgd(kit.auxiliary),
        discriminator_optimizer=kit.sgd(kit.discriminator),
        network=kit.network,
        optimizer=kit.sgd(kit.network),
        **{
            "train_data_loader": [batch],
            "adversarial_loss": ThreeClassAdversarialLoss(),
            "loss_function": kit.rec,
            "decollate": False,
            **options,
        },
    )


def cross_entropy(logits: torch.Tensor, label: int) -> torch.Tensor:
    return functional.cross_entropy(logits, torch.full((len(logits),), label))


def test_one_iteration_is_eq_1_and_then_eq_2_plus_eq_5_for_both_generators(kit, batch, equal_weights):
    made = kit(3)
    reference = made.copy()
    trainer = make_trainer(made, batch)
    trainer.run()

    real_c, real_n = batch["target"], batch["source"]
    synthetic = reference.auxiliary(real_c)
    optimizer = reference.sgd(reference.discriminator)
    eq1 = (
        cross_entropy(reference.discriminator(real_c), INPUT)
        + cross_entropy(reference.discriminator(synthetic.detach()), SYNTHETIC)
        + cross_entropy(reference.discriminator(real_n), OUTPUT)
    )
    eq1.backward()
    optimizer.step()
    optimizer = reference.sgd(reference.auxiliary, reference.network)
    eq2 = cross_entropy(reference.discriminator(synthetic), OUTPUT)
    eq5 = reference.rec(reference.network(synthetic), real_c)
    optimizer.zero_grad()
    (eq2 + eq5).backward()
    optimizer.step()

    for name in ("auxiliary", "network", "discriminator"):
        assert equal_weights(getattr(made, name), getattr(reference, name), atol=1e-6), name
    output = trainer.state.output
    for key, value in {
        "discriminator_loss": eq1, "adversarial_loss": eq2, "reconstruction_loss": eq5, "loss": eq2 + eq5
    }.items():  # fmt: skip
        assert float(output[key]) == pytest.approx(float(value), rel=1e-5), key


def test_the_reconstruction_reaches_the_auxiliary_generator(kit, batch, equal_weights):
    """Without Eq. 5 the auxiliary generator moves otherwise: that is what end to end means."""
    made = kit(3)
    silent = made.copy()
    silent.rec.forward = lambda pred, target: 0 * pred.sum()
    make_trainer(made, batch).run()
    make_trainer(silent, batch).run()
    assert not equal_weights(made.auxiliary, silent.auxiliary, atol=1e-6)
    assert equal_weights(made.discriminator, silent.discriminator)


class Kept(ThreeClassAdversarialLoss):
    """One of Eqs. 1 and 2, or neither; the other counts nothing."""

    def __init__(self, kept: str) -> None:
        super().__init__()
        self.kept = kept

    def discriminator_loss(self, *logits: torch.Tensor) -> torch.Tensor:
        return float(self.kept == "Eq. 1") * super().discriminator_loss(*logits)

    def generator_loss(self, logits: torch.Tensor) -> torch.Tensor:
        return float(self.kept == "Eq. 2") * super().generator_loss(logits)


NETWORKS = ("auxiliary", "network", "discriminator")


@pytest.mark.parametrize(
    ("kept", "reached"),
    [
        ("Eq. 1", {"discriminator"}),
        ("Eq. 2", {"auxiliary"}),
        ("Eq. 5", {"auxiliary", "network"}),
        ("nothing", set()),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_which_networks_each_equation_reaches(kit, batch, kept, reached, precision):
    made = kit(3)

    def reconstruction(pred, target):
        return float(kept == "Eq. 5") * made.rec(pred, target)

    make_trainer(
        made, batch, adversarial_loss=Kept(kept), loss_function=reconstruction, precision=Precision(precision)
    ).run()
    gradients = {name: [p.grad for p in getattr(made, name).parameters()] for name in NETWORKS}
    assert {name for name in NETWORKS if any(g is not None and g.any() for g in gradients[name])} == reached
    assert all(p.grad is None for p in made.classifier.parameters())


def test_each_step_moves_its_own_network_alone_and_the_discriminator_keeps_no_gradient_of_eq_2(
    kit, batch, equal_weights
):
    made = kit(3)
    moved: list[set[str]] = []
    of_eq_1: list[torch.Tensor] = []

    def spy(optimizer: torch.optim.Optimizer) -> None:
        step = optimizer.step

        def wrapped(*args, **kwargs):
            if not moved:
                of_eq_1.extend(p.grad.clone() for p in made.discriminator.parameters())
            before = made.copy()
            step(*args, **kwargs)
            moved.append({name for name in NETWORKS if not equal_weights(getattr(made, name), getattr(before, name))})

        optimizer.step = wrapped

    trainer = make_trainer(made, batch)
    for optimizer in (trainer.discriminator_optimizer, trainer.generator_optimizer, trainer.optimizer):
        spy(optimizer)
    trainer.run()
    assert moved == [{"discriminator"}, {"auxiliary"}, {"network"}]
    after = [p.grad for p in made.discriminator.parameters()]
    assert of_eq_1 and all(torch.equal(a, b) for a, b in zip(after, of_eq_1, strict=True))


def test_the_classifier_stays_bit_identical_and_handlers_see_lists(kit, batch, equal_weights):
    made = kit(3)
    before = made.copy()
    trainer = make_trainer(made, batch, decollate=True)
    trainer.run()
    assert equal_weights(made.classifier, before.classifier)
    assert not equal_weights(made.network, before.network)
    assert isinstance(trainer.state.output, list) and trainer.state.output[0]["pred"].shape == (3, 32, 32)
    assert all(p.requires_grad for p in made.discriminator.parameters())


def test_the_output_compares_the_reconstruction_with_the_real_target(kit, batch):
    made = kit(3)
    reference = made.copy()
    trainer = make_trainer(made, batch)
    trainer.run()
    synthetic = reference.auxiliary(batch["target"])
    output = trainer.state.output
    torch.testing.assert_close(output["image"], synthetic)
    torch.testing.assert_close(output["pred"], reference.network(synthetic))
    assert torch.equal(output["label"], batch["target"])
    assert not output["image"].requires_grad and not output["pred"].requires_grad


def test_a_frozen_layer_of_the_discriminator_stays_as_it_is(kit, batch, equal_weights):
    made = kit(3)
    made.discriminator.layers[0].requires_grad_(False)
    before = made.copy()
    make_trainer(made, batch, train_data_loader=[batch] * 3).run()
    assert equal_weights(made.discriminator.layers[0], before.discriminator.layers[0])
    assert not equal_weights(made.discriminator.head, before.discriminator.head)
    assert not any(p.requires_grad for p in made.discriminator.layers[0].parameters())
