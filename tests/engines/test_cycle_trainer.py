from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from monai.losses import PatchAdversarialLoss
from torch import nn
from torch.nn import functional

from monai_nce.engines import CycleTrainer, ImageBuffer, Precision


def make_trainer(kit, batch, **options) -> CycleTrainer:
    return CycleTrainer(
        device="cpu",
        max_epochs=1,
        network=kit.network,
        auxiliary=kit.auxiliary,
        target_discriminator=kit.discriminator,
        source_discriminator=kit.source_discriminator,
        optimizer=kit.sgd(kit.network),
        auxiliary_optimizer=kit.sgd(kit.auxiliary),
        target_discriminator_optimizer=kit.sgd(kit.discriminator),
        source_discriminator_optimizer=kit.sgd(kit.source_discriminator),
        **{
            "train_data_loader": [batch],
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


def test_a_frozen_layer_of_a_discriminator_stays_as_it_is(kit, batch, equal_weights):
    made = kit(1)
    judges = (made.discriminator, made.source_discriminator)
    for judge in judges:
        judge.layers[0].requires_grad_(False)
    before = made.copy()
    make_trainer(made, batch, train_data_loader=[batch] * 3).run()
    for judge, old in zip(judges, (before.discriminator, before.source_discriminator), strict=True):
        assert equal_weights(judge.layers[0], old.layers[0]) and not equal_weights(judge.head, old.head)
        assert not any(p.requires_grad for p in judge.layers[0].parameters())


def test_discriminators_see_the_buffered_images_and_generators_the_fresh_ones(kit, batch, equal_weights):
    made = kit(1)
    buffers = {name: ImageBuffer(2) for name in ("target", "source")}
    judged: dict[str, list[torch.Tensor]] = {"discriminator": [], "source_discriminator": []}
    for name, seen in judged.items():
        getattr(made, name).register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].detach()))
    fresh = {"discriminator": [], "source_discriminator": []}
    for name, network in (("discriminator", made.network), ("source_discriminator", made.auxiliary)):
        network.register_forward_hook(lambda _, args, out, seen=fresh[name]: seen.append(out.detach()))
    trainer = make_trainer(
        made,
        batch,
        train_data_loader=[batch] * 6,
        target_buffer=buffers["target"],
        source_buffer=buffers["source"],
    )
    trainer.run()
    replaced = 0
    for name, seen in judged.items():
        of_generator, of_discriminator = seen[::2], [images[2:] for images in seen[1::2]]
        made_now = fresh[name][::2]  # the other passes close the cycle
        assert all(torch.equal(a, b) for a, b in zip(of_generator, made_now, strict=True))
        made_before = torch.cat(made_now)
        for number, images in enumerate(of_discriminator):
            for image, new in zip(images, made_now[number], strict=True):
                earlier = made_before[: 2 * number + 2]  # or of this batch, as in the original
                assert torch.equal(image, new) or any(torch.equal(image, old) for old in earlier)
                replaced += not torch.equal(image, new)
    assert 3 < replaced < 17  # of 20 that could be


def test_without_a_buffer_nothing_changes(kit, batch, equal_weights):
    plain, off = kit(1), kit(1)
    make_trainer(plain, batch, train_data_loader=[batch] * 2).run()
    make_trainer(off, batch, train_data_loader=[batch] * 2, target_buffer=ImageBuffer(0)).run()
    assert all(equal_weights(getattr(plain, name), getattr(off, name)) for name in NETWORKS)


@pytest.mark.parametrize("restored", [True, False])
def test_a_resumed_training_ends_with_the_same_weights_if_the_buffers_are_restored(
    kit, batch, equal_weights, tmp_path, restored
):
    def buffers() -> dict[str, ImageBuffer]:
        return {"target_buffer": ImageBuffer(2, seed=1), "source_buffer": ImageBuffer(2, seed=2)}

    def slow():  # to stay finite for so many iterations
        made = kit(1)
        made.sgd = lambda network: torch.optim.SGD(network.parameters(), lr=0.001)
        return made

    whole = slow()
    make_trainer(whole, batch, train_data_loader=[batch] * 8, **buffers()).run()

    stopped, before = slow(), buffers()
    trainer = make_trainer(stopped, batch, train_data_loader=[batch] * 4, **before)
    trainer.run()
    objects = {name: getattr(stopped, name) for name in NETWORKS} | before
    torch.save({name: thing.state_dict() for name, thing in objects.items()}, tmp_path / "checkpoint.pt")

    resumed, after = slow(), buffers()
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    for name, thing in ({name: getattr(resumed, name) for name in NETWORKS} | (after if restored else {})).items():
        thing.load_state_dict(saved[name])
    make_trainer(resumed, batch, train_data_loader=[batch] * 4, **after).run()
    same = {name for name in NETWORKS if equal_weights(getattr(whole, name), getattr(resumed, name))}
    assert same == set(NETWORKS) if restored else not same & {"discriminator", "source_discriminator"}
