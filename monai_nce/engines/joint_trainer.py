"""Train both stages at once, end to end: the paper's Ours-J (§4.2; decision 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.utils.enums import CommonKeys as Keys
from torch import nn
from torch.optim import Optimizer

from .adversarial_trainer import ThreeClassAdversarialTrainer

__all__ = ["JointTrainer"]


class JointTrainer(ThreeClassAdversarialTrainer):
    """Train auxiliary generator, discriminator and target network together (paper §4.2, Ours-J; decision 13).

    One iteration: Eq. 1 for the discriminator, then Eq. 2 plus Eq. 5 for both generators. Eq. 5's gradient reaches the
    auxiliary generator through the synthetic image that the target network is given.

    ``engine.state.output`` holds the target network's ``image``, the synthetic source, its reconstruction ``pred`` and
    the real target ``label``, as in stage 2; the sum as ``loss``, its parts ``adversarial_loss`` and
    ``reconstruction_loss``, and what :class:`ThreeClassAdversarialTrainer` says of the discriminator. At
    ``FORWARD_COMPLETED`` the images are still those of that class.

    Args:
        network: target network, from the auxiliary generator's output domain to its input domain.
        optimizer: over the target network's parameters.
        loss_function: Eq. 5, called with ``(pred, target)``.
        args, kwargs: as in :class:`ThreeClassAdversarialTrainer`.
    """

    def __init__(
        self,
        *args: Any,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.network = network
        self.optimizer = optimizer
        self.loss_function = loss_function

    def _train_generator(
        self, synthetic: torch.Tensor, real_input: torch.Tensor, real_output: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Minimise Eq. 2 + Eq. 5. Returns the sum and its parts."""
        self.network.train()
        with self._held_still(self.discriminator) as (discriminator,):
            adversarial = self._generator_loss(discriminator, synthetic, real_input, real_output)
            reconstructed = self._run(self.network, synthetic)
            reconstruction = self._run(self.loss_function, reconstructed, real_input)
            loss = adversarial + reconstruction
            self._step(loss, self.generator_optimizer, self.optimizer)
        self.state.output |= {Keys.IMAGE: synthetic.detach(), Keys.LABEL: real_input, Keys.PRED: reconstructed.detach()}
        return {
            Keys.LOSS: loss.detach(),
            "adversarial_loss": adversarial.detach(),
            "reconstruction_loss": reconstruction.detach(),
        }
