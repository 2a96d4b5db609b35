"""Train the Cycle baseline: CycleGAN with the paper's networks and a perceptual cycle loss (§4.2; decision 16)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import nn
from torch.optim import Optimizer

from monai_nce.distributed import mean_over_ranks

from .alternating_trainer import AlternatingTrainer
from .image_buffer import ImageBuffer

__all__ = ["CycleTrainer"]


class CycleTrainer(AlternatingTrainer):
    """Train two generators against two binary discriminators, tied by cycle consistency (paper §4.2; decision 16).

    After Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017: the
    generators first, on both adversarial losses and both cycle losses, then each discriminator on real and synthetic
    images, its loss halved. The cycle loss is Eq. 5, L1 and perceptual, where the original has L1; there is no identity
    loss. The original's buffers of 50 earlier images are an option.

    ``engine.state.output`` holds ``image`` (real source), ``label`` (real target), ``pred`` (synthetic target),
    ``loss`` (of the generators) and its parts ``adversarial_loss`` and ``cycle_loss``, ``discriminator_loss`` and
    ``discriminator_accuracy`` (of both, by the side of 1/2 on which their value lies; 1/2 is chance). With several
    processes the losses and the accuracy are means over all of them.

    Args:
        device, max_epochs, train_data_loader, kwargs: as in :class:`AlternatingTrainer`; batches have both keys.
        network, optimizer: source to target.
        auxiliary, auxiliary_optimizer: target to source.
        target_discriminator, target_discriminator_optimizer: ``(B, C, H, W)`` to one value per image, high for real
            targets.
        source_discriminator, source_discriminator_optimizer: likewise for sources.
        adversarial_loss: called with ``(logits, target_is_real, for_discriminator)``, as MONAI's
            ``PatchAdversarialLoss``.
        cycle_loss: Eq. 5, called with ``(pred, target)``.
        source_key, target_key: images of the two domains.
        target_buffer, source_buffer: earlier synthetic images, which the discriminators then see too; None for none.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        auxiliary: nn.Module,
        target_discriminator: nn.Module,
        source_discriminator: nn.Module,
        optimizer: Optimizer,
        auxiliary_optimizer: Optimizer,
        target_discriminator_optimizer: Optimizer,
        source_discriminator_optimizer: Optimizer,
        adversarial_loss: Callable[..., torch.Tensor],
        cycle_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        source_key: str = "source",
        target_key: str = "target",
        target_buffer: ImageBuffer | None = None,
        source_buffer: ImageBuffer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(device, max_epochs, train_data_loader, **kwargs)
        self.network = network
        self.auxiliary = auxiliary
        self.target_discriminator = target_discriminator
        self.source_discriminator = source_discriminator
        self.optimizer = optimizer
        self.auxiliary_optimizer = auxiliary_optimizer
        self.target_discriminator_optimizer = target_discriminator_optimizer
        self.source_discriminator_optimizer = source_discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.cycle_loss = cycle_loss
        self.source_key = source_key
        self.target_key = target_key
        self.target_buffer = target_buffer or ImageBuffer(0)
        self.source_buffer = source_buffer or ImageBuffer(0)

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        source, target = self._images(batchdata, self.source_key, self.target_key)
        for network in (self.network, self.auxiliary, self.target_discriminator, self.source_discriminator):
            network.train()
        synthetic_target, synthetic_source = self._run(self.network, source), self._run(self.auxiliary, target)
        engine.state.output = {Keys.IMAGE: source, Keys.LABEL: target, Keys.PRED: synthetic_target.detach()}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        of_generators = self._train_generators(source, target, synthetic_source, synthetic_target)
        of_target, target_accuracy = self._train_discriminator(
            self.target_discriminator, self.target_discriminator_optimizer, target, self.target_buffer(synthetic_target)
        )
        of_source, source_accuracy = self._train_discriminator(
            self.source_discriminator, self.source_discriminator_optimizer, source, self.source_buffer(synthetic_source)
        )
        engine.state.output |= mean_over_ranks(
            {
                **of_generators,
                "discriminator_loss": of_target + of_source,
                "discriminator_accuracy": (target_accuracy + source_accuracy) / 2,
            }
        )
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _train_generators(
        self, source: torch.Tensor, target: torch.Tensor, synthetic_source: torch.Tensor, synthetic_target: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Minimise both adversarial and both cycle losses. Returns their sum and its parts."""
        with self._held_still(self.target_discriminator, self.source_discriminator) as (of_target, of_source):
            as_real = {"target_is_real": True, "for_discriminator": False}
            adversarial = self.adversarial_loss(self._run(of_target, synthetic_target), **as_real)
            adversarial = adversarial + self.adversarial_loss(self._run(of_source, synthetic_source), **as_real)
            cycle = self._run(self.cycle_loss, self._run(self.auxiliary, synthetic_target), source)
            cycle = cycle + self._run(self.cycle_loss, self._run(self.network, synthetic_source), target)
            loss = adversarial + cycle
            self._step(loss, self.optimizer, self.auxiliary_optimizer)
        return {Keys.LOSS: loss.detach(), "adversarial_loss": adversarial.detach(), "cycle_loss": cycle.detach()}

    def _train_discriminator(
        self, discriminator: nn.Module, optimizer: Optimizer, real: torch.Tensor, synthetic: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Minimise half the loss on real and synthetic images. Returns it and the share that was told right."""
        of_real, of_synthetic = self._run(discriminator, torch.cat([real, synthetic])).chunk(2)
        loss = 0.5 * (
            self.adversarial_loss(of_real, target_is_real=True, for_discriminator=True)
            + self.adversarial_loss(of_synthetic, target_is_real=False, for_discriminator=True)
        )
        self._step(loss, optimizer)
        # least squares draws real images to 1 and synthetic ones to 0
        right = torch.cat([of_real.detach() > 0.5, of_synthetic.detach() <= 0.5])
        return loss.detach(), right.float().mean()
