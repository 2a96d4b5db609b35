from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import IterationEvents
from torch import nn

from monai_nce.engines import Precision, ThreeClassAdversarialTrainer
from monai_nce.losses import ThreeClassAdversarialLoss
from monai_nce.networks import Discriminator, Generator

State = dict[str, torch.Tensor]


def networks() -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    return (
        Generator(channels=(8, 4), hidden_channels=4, num_groups=2),
        Discriminator(channels=(4, 8), input_size=(16, 16), num_groups=2),
    )


def batches(count: int = 1, size: int = 2) -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    return [
        {key: torch.rand(size, 3, 16, 16, generator=random) * 2 - 1 for key in ("source", "target")}
        for _ in range(count)
    ]


def snapshot(network: nn.Module) -> State:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a: State, b: State) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def make_trainer(generator: nn.Module, discriminator: nn.Module, **options: Any) -> ThreeClassAdversarialTrainer:
    settings: dict[str, Any] = {
        "device": torch.device("cpu"),
        "max_epochs": 1,
        "train_data_loader": batches(),
        "generator": generator,
        "discriminator": discriminator,
        "generator_optimizer": torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        "discriminator_optimizer": torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        "adversarial_loss": ThreeClassAdversarialLoss(),
        **options,
    }
    return ThreeClassAdversarialTrainer(**settings)


def cross_entropy(logits: torch.Tensor, label: int) -> torch.Tensor:
    """H(1_label, softmax(logits)), the mean over the batch, from its definition."""
    return -(logits.exp() / logits.exp().sum(dim=1, keepdim=True))[:, label].log().mean()


def reference_step(
    generator: nn.Module,
    discriminator: nn.Module,
    real_input: torch.Tensor,
    real_output: torch.Tensor,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer] | None = None,
) -> tuple[float, float]:
    """Eq. 1 and then Eq. 2 as the paper writes them, each with its own forward passes; returns their values."""
    for_generator, for_discriminator = optimizers or (
        torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999)),
    )
    with torch.no_grad():
        synthetic = generator(real_input)
    eq1 = (
        cross_entropy(discriminator(real_input), 0)
        + cross_entropy(discriminator(synthetic), 2)
        + cross_entropy(discriminator(real_output), 1)
    )
    for_discriminator.zero_grad()
    eq1.backward()
    for_discriminator.step()
    eq2 = cross_entropy(discriminator(generator(real_input)), 1)
    for_generator.zero_grad()
    eq2.backward()
    for_generator.step()
    return eq1.item(), eq2.item()


def assert_close(network: nn.Module, reference: nn.Module) -> None:
    for (name, value), expected in zip(network.state_dict().items(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("roles", [("target", "source"), ("source", "target")])
def test_iterations_equal_the_equations_one_after_the_other(roles: tuple[str, str]) -> None:
    generator, discriminator = networks()
    # plain gradient descent: Adam's first steps would hide a gradient of the wrong size
    references = copy.deepcopy((generator, discriminator))
    before = snapshot(generator), snapshot(discriminator)
    losses: list[tuple[float, float]] = []
    trainer = make_trainer(
        generator,
        discriminator,
        train_data_loader=batches(3),
        generator_optimizer=torch.optim.SGD(generator.parameters(), lr=0.05),
        discriminator_optimizer=torch.optim.SGD(discriminator.parameters(), lr=0.05),
        input_key=roles[0],
        output_key=roles[1],
    )

    @trainer.on(Events.ITERATION_COMPLETED)
    def collect(engine: Any) -> None:
        first = engine.state.output[0]
        losses.append((float(first["discriminator_loss"]), float(first["loss"])))

    trainer.run()
    optimizers = tuple(torch.optim.SGD(network.parameters(), lr=0.05) for network in references)
    expected = [reference_step(*references, batch[roles[0]], batch[roles[1]], optimizers) for batch in batches(3)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert_close(generator, references[0])
    assert_close(discriminator, references[1])
    assert not same(before[0], snapshot(generator)) and not same(before[1], snapshot(discriminator))


def test_one_iteration_with_adam_equals_the_reference() -> None:
    generator, discriminator = networks()
    references = copy.deepcopy((generator, discriminator))
    make_trainer(generator, discriminator).run()
    batch = batches()[0]
    reference_step(*references, batch["target"], batch["source"])
    assert_close(generator, references[0])
    assert_close(discriminator, references[1])


def test_each_step_moves_its_own_network_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, discriminator = networks()
    trainer = make_trainer(generator, discriminator)
    order: list[str] = []

    def spy(name: str, optimizer: torch.optim.Optimizer, own: nn.Module, other: nn.Module) -> None:
        step = optimizer.step

        def watched(*args: Any, **kwargs: Any) -> Any:
            order.append(name)
            own_before, other_before = snapshot(own), snapshot(other)
            result = step(*args, **kwargs)
            changed = [key for key, value in own.state_dict().items() if not torch.equal(value, own_before[key])]
            assert len(changed) == len(own_before), f"{name}: some weights did not move"
            assert same(other_before, snapshot(other))
            return result

        monkeypatch.setattr(optimizer, "step", watched)

    spy("discriminator", trainer.discriminator_optimizer, discriminator, generator)
    spy("generator", trainer.generator_optimizer, generator, discriminator)
    trainer.run()
    assert order == ["discriminator", "generator"]


def test_eq_1_reaches_no_generator_and_eq_2_no_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, discriminator = networks()
    trainer = make_trainer(generator, discriminator)
    gradients: dict[str, list[torch.Tensor | None]] = {}
    step = trainer.discriminator_optimizer.step

    def discriminator_step(*args: Any) -> Any:
        assert all(parameter.grad is None for parameter in generator.parameters())
        gradients["after Eq. 1"] = [p.grad.clone() for p in discriminator.parameters() if p.grad is not None]
        return step(*args)

    monkeypatch.setattr(trainer.discriminator_optimizer, "step", discriminator_step)
    trainer.run()
    after = [parameter.grad for parameter in discriminator.parameters()]
    assert len(gradients["after Eq. 1"]) == len(after) > 0
    assert all(torch.equal(a, b) for a, b in zip(gradients["after Eq. 1"], after, strict=True))
    assert all(parameter.requires_grad for parameter in discriminator.parameters())
    assert all(parameter.grad is not None for parameter in generator.parameters())


def test_requires_grad_is_restored_when_the_generators_loss_fails() -> None:
    class Failing(ThreeClassAdversarialLoss):
        def generator_loss(self, synthetic_logits: torch.Tensor) -> torch.Tensor:
            raise ArithmeticError("no loss")

    generator, discriminator = networks()
    trainer = make_trainer(generator, discriminator, adversarial_loss=Failing())
    trainer.logger.disabled = True
    with pytest.raises(ArithmeticError):
        trainer.run()
    assert all(parameter.requires_grad for parameter in discriminator.parameters())


def test_a_frozen_layer_of_the_discriminator_stays_as_it_is() -> None:
    generator, discriminator = networks()
    discriminator.layers[0].requires_grad_(False)
    before = snapshot(discriminator)
    make_trainer(generator, discriminator, train_data_loader=batches(3)).run()
    moved = {name for name, value in discriminator.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if not name.startswith("layers.0.")}
    assert not any(parameter.requires_grad for parameter in discriminator.layers[0].parameters())


@pytest.mark.parametrize("roles", [("target", "source"), ("source", "target")])
def test_output_holds_the_images_of_the_iteration(roles: tuple[str, str]) -> None:
    generator, discriminator = networks()
    with torch.no_grad():
        expected = generator(batches()[0][roles[0]])
    events: list[str] = []
    trainer = make_trainer(generator, discriminator, input_key=roles[0], output_key=roles[1])

    @trainer.on(IterationEvents.FORWARD_COMPLETED)
    def forward_completed(engine: Any) -> None:
        events.append("forward")
        assert set(engine.state.output) == {"image", "label", "pred"}

    @trainer.on(IterationEvents.MODEL_COMPLETED)
    def model_completed(engine: Any) -> None:
        events.append("model")
        assert isinstance(engine.state.output, list) and isinstance(engine.state.batch, list)

    trainer.run()
    assert events == ["forward", "model"]
    output = trainer.state.output
    assert isinstance(output, list) and len(output) == 2
    for index, item in enumerate(output):
        assert set(item) == {"image", "label", "pred", "loss", "discriminator_loss", "discriminator_accuracy"}
        assert torch.equal(item["image"], batches()[0][roles[0]][index])
        assert torch.equal(item["label"], batches()[0][roles[1]][index])
        torch.testing.assert_close(item["pred"], expected[index])
        assert not any(isinstance(value, torch.Tensor) and value.requires_grad for value in item.values())


class Fixed(nn.Module):
    """A discriminator whose logits are known; its one weight lets a step be made."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.logits = logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(x)] + self.weight + 0 * x.mean()


def test_accuracy_is_that_of_the_three_classes() -> None:
    # two of the input domain, two of the output domain, two synthetic: all are right but the fourth
    decided = [0, 0, 1, 0, 2, 2]
    discriminator = Fixed(torch.eye(3)[decided] * 5)
    trainer = make_trainer(networks()[0], discriminator)
    trainer.run()
    assert float(trainer.state.output[0]["discriminator_accuracy"]) == pytest.approx(5 / 6)
    assert float(trainer.state.output[0]["discriminator_loss"]) == pytest.approx(
        sum(float(cross_entropy(torch.eye(3)[decided[2 * k : 2 * k + 2]] * 5, k)) for k in range(3)), rel=1e-5
    )


def test_handlers_are_attached() -> None:
    attached: list[Any] = []

    class Handler:
        def attach(self, engine: Any) -> None:
            attached.append(engine)

    trainer = make_trainer(*networks(), train_handlers=[Handler()])
    assert attached == [trainer]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_in_any_precision_the_losses_are_those_of_the_equations(precision: str) -> None:
    generator, discriminator = networks()
    references = copy.deepcopy((generator, discriminator))
    trainer = make_trainer(generator, discriminator, precision=Precision(precision))
    trainer.run()
    batch = batches()[0]
    eq1, eq2 = reference_step(*references, batch["target"], batch["source"])
    output = trainer.state.output[0]
    tolerance = {"fp32": 1e-5, "bf16": 0.02}[precision]
    assert float(output["discriminator_loss"]) == pytest.approx(eq1, rel=tolerance)
    assert float(output["loss"]) == pytest.approx(eq2, rel=tolerance)


def test_fp16_scales_both_losses_and_steps_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp16 as on a GPU, but for the device: the scaler that MONAI makes is replaced by one that works here."""
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda: torch.amp.GradScaler("cpu", init_scale=256.0))
    scales = Precision()
    scales.scales = True
    (generator, discriminator), references = networks(), networks()
    sgd = {
        f"{name}_optimizer": torch.optim.SGD(network.parameters(), lr=0.05)
        for name, network in (("generator", generator), ("discriminator", discriminator))
    }
    trainer = make_trainer(generator, discriminator, precision=scales, **sgd)
    trainer.run()
    batch = batches()[0]
    reference_step(
        *references,
        batch["target"],
        batch["source"],
        (torch.optim.SGD(references[0].parameters(), lr=0.05), torch.optim.SGD(references[1].parameters(), lr=0.05)),
    )
    assert trainer.scaler.state_dict()["_growth_tracker"] == 2
    assert_close(generator, references[0])
    assert_close(discriminator, references[1])


def test_a_generator_held_to_its_input_also_minimises_what_holds_it() -> None:
    """One step by plain gradient descent, against the gradients of the losses written out."""
    generator, discriminator = networks()
    (batch,) = batches()
    reference = copy.deepcopy(generator)
    options: dict[str, Any] = {
        "identity_loss": lambda pred, real: 3 * (pred - real).abs().mean(),
        "tie_loss": lambda pred, given, output: 2 * (pred - given).square().mean() + 0 * output.sum(),
        "generator_optimizer": torch.optim.SGD(generator.parameters(), lr=0.1),
        "discriminator_optimizer": torch.optim.SGD(discriminator.parameters(), lr=0.0),
    }
    trainer = make_trainer(generator, discriminator, **options)
    trainer.run()
    synthetic = reference(batch["target"])
    loss = cross_entropy(discriminator(synthetic), 1)
    loss = loss + 3 * (reference(batch["source"]) - batch["source"]).abs().mean()
    loss = loss + 2 * (synthetic - batch["target"]).square().mean()
    loss.backward()
    assert float(trainer.state.output[0]["loss"]) == pytest.approx(loss.item(), rel=1e-5)
    for trained, given in zip(generator.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(trained, given - 0.1 * given.grad, rtol=1e-4, atol=1e-6)


class Bowl(nn.Module):
    """Logits whose gradients are known: of class 0 three times the sum, of class 1 half the sum of squares."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.flatten(1)
        of_input, of_output = 3 * self.scale * x.sum(1), self.scale * x.square().sum(1) / 2
        return torch.stack([of_input, of_output, torch.zeros_like(of_input)], dim=1)


def test_the_gradient_penalty_is_the_true_logits_squared_gradient() -> None:
    generator, _ = networks()
    (batch,) = batches()
    bowl = Bowl()
    trainer = make_trainer(
        generator,
        bowl,
        gradient_penalty=4.0,
        discriminator_optimizer=torch.optim.SGD(bowl.parameters(), lr=0.0),
    )
    squares = batch["source"].square().sum(dim=(1, 2, 3))
    expected = torch.cat([torch.full((2,), 9.0 * 3 * 16 * 16), squares]).mean()
    value = trainer._squared_gradient(batch["target"], batch["source"])
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, bowl.parameters())
    assert gradient.item() == pytest.approx(2 * expected.item(), rel=1e-5)  # it reaches the discriminator's weights
    synthetic = generator(batch["target"]).detach()
    logits = [bowl(batch["target"]), bowl(batch["source"]), bowl(synthetic)]
    eq1 = ThreeClassAdversarialLoss().discriminator_loss(*logits)
    trainer.run()
    assert float(trainer.state.output[0]["discriminator_loss"]) == pytest.approx((eq1 + 2 * expected).item(), rel=1e-4)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in generator.parameters())


def test_patches_train_too_and_count_for_the_accuracy() -> None:
    generator, _ = networks()
    discriminator = Discriminator(channels=(4, 8), input_size=(16, 16), num_groups=2, patches=True, spectral_norm=True)
    trainer = make_trainer(generator, discriminator, train_data_loader=batches(3), gradient_penalty=1.0)
    before = snapshot(generator)
    trainer.run()
    assert not same(before, snapshot(generator))
    assert 0 <= float(trainer.state.output[0]["discriminator_accuracy"]) <= 1
