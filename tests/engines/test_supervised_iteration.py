from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.engines import IterationEvents, SupervisedTrainer
from torch import nn
from torch.nn import functional

from monai_nce.engines import Precision, SupervisedIteration, SyntheticPair
from monai_nce.errors import InputError


def make_trainer(kit: Any, batches: list, optimizer: Any = None, **options: Any) -> SupervisedTrainer:
    return SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=batches,
        network=kit.network,
        optimizer=optimizer or kit.sgd(kit.network),
        loss_function=kit.rec,
        prepare_batch=SyntheticPair(kit.auxiliary),
        **{"decollate": False, **options},
    )


def test_fp32_is_monais_iteration_to_the_bit(kit, batch, equal_weights):
    ours, monais = kit(3), kit(3)
    batches = [{key: image.roll(shift, -1) for key, image in batch.items()} for shift in range(3)]
    seen: dict[str, list[Any]] = {"ours": [], "monais": []}
    for name, made, options in (
        ("ours", ours, {"iteration_update": SupervisedIteration()}),
        ("monais", monais, {}),
    ):
        adam = torch.optim.Adam(made.network.parameters(), lr=1e-2)
        trainer = make_trainer(made, batches, adam, **options)
        for event in IterationEvents:
            if event.name in ("FORWARD_COMPLETED", "LOSS_COMPLETED", "BACKWARD_COMPLETED", "MODEL_COMPLETED"):
                trainer.add_event_handler(
                    event,
                    lambda engine, name=name, event=event: seen[name].append(
                        (event.name, {key: value.tolist() for key, value in engine.state.output.items()})
                    ),
                )
        trainer.run()
    assert len(seen["ours"]) == 12 and seen["ours"] == seen["monais"]
    assert equal_weights(ours.network, monais.network) and not equal_weights(ours.network, kit(3).network)


class Times(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def test_an_iteration_by_hand():
    network = Times()
    trainer = SupervisedTrainer(
        torch.device("cpu"), 1, [{"image": torch.ones(2, 1, 1), "label": torch.zeros(2, 1, 1)}], network,
        torch.optim.SGD(network.parameters(), lr=0.25), functional.mse_loss, iteration_update=SupervisedIteration(),
        decollate=False,
    )  # fmt: skip
    trainer.run()
    assert trainer.state.output["loss"].item() == 4 and trainer.state.output["pred"].unique().tolist() == [2]
    assert network.weight.item() == 2 - 0.25 * 4


def test_bf16_runs_every_convolution_in_bf16_and_computes_losses_in_fp32(kit, batch):
    made = kit(3)
    types: dict[str, set[torch.dtype]] = {}
    for name in ("network", "auxiliary", "classifier"):
        for module in getattr(made, name).modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, i, y, name=name: types.setdefault(name, set()).add(y.dtype))
    precision = Precision("bf16")
    before = copy.deepcopy(made.network)
    trainer = make_trainer(made, [batch], iteration_update=SupervisedIteration(precision), amp=precision.scales)
    trainer.run()
    assert types == dict.fromkeys(("network", "auxiliary", "classifier"), {torch.bfloat16})
    assert {value.dtype for value in trainer.state.output.values()} == {torch.float32}
    assert trainer.scaler is None
    assert {p.dtype for p in made.network.parameters()} == {p.grad.dtype for p in made.network.parameters()}
    moved = [not torch.equal(a, b) for a, b in zip(made.network.parameters(), before.parameters(), strict=True)]
    assert all(moved)
    assert all(p.grad is None for n in (made.auxiliary, made.classifier) for p in n.parameters())


def test_bf16_learns_what_fp32_learns(kit, batch):
    losses = {}
    for name in ("fp32", "bf16"):
        trainer = make_trainer(kit(3), [batch] * 4, iteration_update=SupervisedIteration(Precision(name)))
        losses[name] = []
        trainer.add_event_handler(
            IterationEvents.MODEL_COMPLETED, lambda e, name=name: losses[name].append(float(e.state.output["loss"]))
        )
        trainer.run()
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02) and losses["bf16"] != losses["fp32"]
    assert losses["bf16"][-1] < losses["bf16"][0]


def test_a_scaler_of_the_engine_is_used(kit, batch, monkeypatch, equal_weights):
    """fp16 as on a GPU, but for the device: the scaler that MONAI makes is replaced by one that works here."""
    monkeypatch.setattr(torch.cuda.amp, "GradScaler", lambda: torch.amp.GradScaler("cpu", init_scale=1024.0))
    precision = Precision()
    precision.scales = True
    scaled, plain = kit(3), kit(3)
    trainer = make_trainer(scaled, [batch], iteration_update=SupervisedIteration(precision), amp=precision.scales)
    scales = []
    trainer.add_event_handler(
        IterationEvents.BACKWARD_COMPLETED,
        lambda engine: scales.append(max(p.grad.abs().max().item() for p in scaled.network.parameters())),
    )
    trainer.run()
    make_trainer(plain, [batch], iteration_update=SupervisedIteration()).run()
    largest = max(p.grad.abs().max().item() for p in plain.network.parameters())
    assert scales[0] == pytest.approx(1024 * largest, rel=1e-4)
    assert trainer.scaler.state_dict()["_growth_tracker"] == 1
    assert equal_weights(scaled.network, plain.network, atol=1e-6)


def test_accumulation_is_refused_and_not_ignored(kit, batch):
    trainer = make_trainer(kit(3), [batch], iteration_update=SupervisedIteration())
    trainer.accumulation_steps = 2
    trainer.logger.disabled = True
    with pytest.raises(InputError, match="accumulation_steps of 1 but got 2"):
        trainer.run()
