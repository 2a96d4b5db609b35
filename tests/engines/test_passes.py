"""How often each network runs in an iteration, with and without a graph: what a scheme costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.losses import PatchAdversarialLoss
from torch import nn

from monai_nce.engines import (
    CycleTrainer,
    JointTrainer,
    Precision,
    SupervisedIteration,
    SyntheticPair,
    ThreeClassAdversarialTrainer,
)
from monai_nce.losses import ThreeClassAdversarialLoss


def stage1(kit: Any, batch: dict, precision: Precision) -> ThreeClassAdversarialTrainer:
    return ThreeClassAdversarialTrainer(
        "cpu", 1, [batch] * 2, kit.auxiliary, kit.discriminator, kit.sgd(kit.auxiliary), kit.sgd(kit.discriminator),
        ThreeClassAdversarialLoss(), precision=precision,
    )  # fmt: skip


def stage2(kit: Any, batch: dict, precision: Precision) -> SupervisedTrainer:
    return SupervisedTrainer(
        torch.device("cpu"), 1, [batch] * 2, kit.network, kit.sgd(kit.network), kit.rec,
        prepare_batch=SyntheticPair(kit.auxiliary), iteration_update=SupervisedIteration(precision),
    )  # fmt: skip


def joint(kit: Any, batch: dict, precision: Precision) -> JointTrainer:
    return JointTrainer(
        "cpu", 1, [batch] * 2, kit.auxiliary, kit.discriminator, kit.sgd(kit.auxiliary), kit.sgd(kit.discriminator),
        ThreeClassAdversarialLoss(), network=kit.network, optimizer=kit.sgd(kit.network), loss_function=kit.rec,
        precision=precision,
    )  # fmt: skip


def cycle(kit: Any, batch: dict, precision: Precision) -> CycleTrainer:
    return CycleTrainer(
        "cpu", 1, [batch] * 2, kit.network, kit.auxiliary, kit.discriminator, kit.source_discriminator,
        *(kit.sgd(n) for n in (kit.network, kit.auxiliary, kit.discriminator, kit.source_discriminator)),
        PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True), kit.rec, precision=precision,
    )  # fmt: skip


# per iteration: network, whether its result has a gradient, images
B = 2
EXPECTED = {
    # Eqs. 1 and 2 share the generator's pass; the discriminator moves between its two, so they cannot be one
    stage1: {("auxiliary", True): [B], ("discriminator", True): [3 * B, B]},
    # the classifier sees the real image once, without a graph, and the synthetic one with it
    stage2: {("auxiliary", False): [B], ("network", True): [B], ("classifier", False): [B], ("classifier", True): [B]},
    joint: {
        ("auxiliary", True): [B], ("network", True): [B], ("discriminator", True): [3 * B, B],
        ("classifier", False): [B], ("classifier", True): [B],
    },
    # there and back for each generator; two real images for the classifier
    cycle: {
        ("network", True): [B, B], ("auxiliary", True): [B, B], ("discriminator", True): [B, 2 * B],
        ("source_discriminator", True): [B, 2 * B], ("classifier", False): [B, B], ("classifier", True): [B, B],
    },
}  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("scheme", EXPECTED)
def test_no_pass_is_made_twice(kit, batch, scheme, precision):
    made = kit(1 if scheme is cycle else 3)
    passes: Counter = Counter()
    trainer = scheme(made, batch, Precision(precision))
    for name in ("network", "auxiliary", "discriminator", "source_discriminator"):
        getattr(made, name).register_forward_hook(
            lambda m, x, y, name=name: passes.update([(name, y.requires_grad, len(y))])
        )
    made.classifier.blocks[0].register_forward_hook(
        lambda m, x, y: passes.update([("classifier", y.requires_grad, len(y))])
    )
    trainer.run()
    expected: Counter = Counter()
    for (name, with_graph), sizes in EXPECTED[scheme].items():
        expected.update((name, with_graph, size) for size in sizes for _ in range(2))  # two iterations
    assert passes == expected


@pytest.mark.parametrize("scheme", EXPECTED)
def test_in_bf16_every_convolution_runs_in_it_and_all_that_is_kept_is_fp32(kit, batch, scheme):
    made = kit(1 if scheme is cycle else 3)
    types = set()
    for network in (made.network, made.auxiliary, made.discriminator, made.source_discriminator, made.classifier):
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, x, y: types.add(y.dtype))
    trainer = scheme(made, batch, Precision("bf16"))
    trainer.run()
    assert types == {torch.bfloat16}
    assert trainer.scaler is None
    kept = [value for item in trainer.state.output for value in item.values() if isinstance(value, torch.Tensor)]
    kept += [p for network in (made.network, made.auxiliary, made.discriminator) for p in network.parameters()]
    kept += [p.grad for p in kept if p.grad is not None]
    assert {value.dtype for value in kept} == {torch.float32}
