"""Train a generator against a three-class discriminator: stage 1 (paper §3.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import nn
from torch.optim import Optimizer

from monai_nce.distributed import mean_over_ranks
from monai_nce.errors import InputError

from .alternating_trainer import AlternatingTrainer
from .parallel import bare

__all__ = ["ThreeClassAdversarialTrainer"]


class AdversarialLoss(Protocol):
    """Compute Eqs. 1 and 2, as :class:`monai_nce.losses.ThreeClassAdversarialLoss` does."""

    def discriminator_loss(
        self, input_logits: torch.Tensor, output_logits: torch.Tensor, synthetic_logits: torch.Tensor
    ) -> torch.Tensor: ...

    def generator_loss(self, synthetic_logits: torch.Tensor) -> torch.Tensor: ...


class ThreeClassAdversarialTrainer(AlternatingTrainer):
    """Alternate Eq. 1 for the discriminator and Eq. 2 for the generator, one step each (paper §3.1; decision 10).

    MONAI's ``AdversarialTrainer`` takes the generator's inputs for the discriminator's reals and knows two classes;
    here the reals come from two domains.

    One forward pass of the generator serves both steps: its weights do not move in between, so a second pass would give
    the same images.

    ``engine.state.output`` holds ``image`` (generator's input), ``label`` (a real image of its output domain), ``pred``
    (synthetic), ``loss`` (Eq. 2), ``discriminator_loss`` (Eq. 1) and ``discriminator_accuracy`` (of the three classes;
    1/3 is chance; near 1 it has won). With several processes the last three are means over all of them.

    The last three arguments are no part of the paper: what else may hold the generator to its input, or make the
    discriminator smooth. What they add is part of ``loss`` and ``discriminator_loss``.

    Args:
        device, max_epochs, train_data_loader, kwargs: as in :class:`AlternatingTrainer`; batches have both keys.
        generator: ``(B, C, H, W)`` of the input domain to the output domain; the auxiliary generator in stage 1.
        discriminator: ``(B, C, H, W)`` to logits ``(B, 3)``, in the order input domain, output domain, synthetic.
        generator_optimizer, discriminator_optimizer: over their parameters.
        adversarial_loss: Eqs. 1 and 2.
        input_key: images of the generator's input domain; CECT, the ``target``, in stage 1.
        output_key: images of its output domain; NECT, the ``source``, in stage 1.
        identity_loss: called with ``(generator(real_output), real_output)``: an image of the output domain is to stay
            as it is (CycleGAN's identity loss; Zhu et al., ICCV 2017).
        tie_loss: called with ``(synthetic, real_input, real_output)``, such as
            :class:`monai_nce.losses.HistogramTie`.
        gradient_penalty: weight of R1, half the mean squared gradient of the discriminator's logit of the true class on
            real images (Mescheder et al., ICML 2018); 0 for none. One process only.

    Raises:
        InputError: for a gradient penalty with several processes.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        generator: nn.Module,
        discriminator: nn.Module,
        generator_optimizer: Optimizer,
        discriminator_optimizer: Optimizer,
        adversarial_loss: AdversarialLoss,
        input_key: str = "target",
        output_key: str = "source",
        identity_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        tie_loss: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
        gradient_penalty: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if gradient_penalty and bare(discriminator) is not discriminator:
            raise InputError("gradient_penalty: expected 0 with several processes, which do not share its gradient")
        super().__init__(device, max_epochs, train_data_loader, **kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial_loss = adversarial_loss
        self.input_key = input_key
        self.output_key = output_key
        self.identity_loss = identity_loss
        self.tie_loss = tie_loss
        self.gradient_penalty = gradient_penalty

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        real_input, real_output = self._images(batchdata, self.input_key, self.output_key)
        self.generator.train()
        self.discriminator.train()
        synthetic = self._run(self.generator, real_input)
        engine.state.output = {Keys.IMAGE: real_input, Keys.LABEL: real_output, Keys.PRED: synthetic.detach()}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)

        logits, discriminator_loss = self._train_discriminator(real_input, real_output, synthetic.detach())
        classes = torch.arange(3, device=logits.device).repeat_interleave(len(real_input))
        accuracy = (logits.argmax(dim=1) == classes.view(-1, *[1] * (logits.ndim - 2))).float().mean()
        engine.state.output |= mean_over_ranks(
            {
                "discriminator_loss": discriminator_loss,
                "discriminator_accuracy": accuracy,
                **self._train_generator(synthetic, real_input, real_output),
            }
        )
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _train_discriminator(
        self, real_input: torch.Tensor, real_output: torch.Tensor, synthetic: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Minimise Eq. 1. Returns the logits in the classes' order and the loss."""
        # one pass over the three kinds: group norm keeps images apart, so this is three passes in one
        logits = self._run(self.discriminator, torch.cat([real_input, real_output, synthetic]))
        of_input, of_output, of_synthetic = logits.chunk(3)
        loss = self.adversarial_loss.discriminator_loss(of_input, of_output, of_synthetic)
        if self.gradient_penalty:
            loss = loss + self.gradient_penalty / 2 * self._squared_gradient(real_input, real_output)
        self._step(loss, self.discriminator_optimizer)
        return logits.detach(), loss.detach()

    def _squared_gradient(self, real_input: torch.Tensor, real_output: torch.Tensor) -> torch.Tensor:
        """Return the mean over real images of the squared gradient of the true class's logit, in fp32."""
        images = torch.cat([real_input, real_output]).detach().requires_grad_()
        logits = self.discriminator(images).chunk(2)  # input domain, output domain: the first two classes
        true = sum(part[:, label].sum() for label, part in enumerate(logits))
        (gradient,) = torch.autograd.grad(true, images, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()

    def _generator_loss(
        self,
        discriminator: nn.Module,
        synthetic: torch.Tensor,
        real_input: torch.Tensor,
        real_output: torch.Tensor,
    ) -> torch.Tensor:
        """Compute Eq. 2, and what else holds the generator to its input; nothing does in the paper."""
        loss = self.adversarial_loss.generator_loss(self._run(discriminator, synthetic))
        if self.identity_loss is not None:
            loss = loss + self._run(self.identity_loss, self._run(self.generator, real_output), real_output)
        if self.tie_loss is not None:
            loss = loss + self._run(self.tie_loss, synthetic, real_input, real_output)
        return loss

    def _train_generator(
        self, synthetic: torch.Tensor, real_input: torch.Tensor, real_output: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Minimise Eq. 2, and what holds the generator to its input. Returns what is to be logged: the ``loss``."""
        with self._held_still(self.discriminator) as (discriminator,):
            loss = self._generator_loss(discriminator, synthetic, real_input, real_output)
            self._step(loss, self.generator_optimizer)
        return {Keys.LOSS: loss.detach()}
