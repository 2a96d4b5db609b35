"""Train the target network on real pairs that were registered, beside the synthetic ones (paper §5)."""

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

__all__ = ["RegisteredTrainer"]


class RegisteredTrainer(AlternatingTrainer):
    """Minimise Eq. 5 on the synthetic pair plus, with a weight, Eq. 5 on the registered real pair (paper §5).

    Where the batch's mask is 0 the real pair counts for nothing: there the prediction is replaced by the target before
    the loss sees it, so that neither L1 nor the features of Eq. 4 depend on it. A pixel that counts has the same weight
    whatever part of the image does not.

    ``engine.state.output`` holds ``image``, ``label`` and ``pred`` of the synthetic pairs and then the real ones;
    ``loss``, and its parts ``synthetic_loss`` and ``real_loss`` before the weight; and ``counted``, the mask's mean.
    Scalars are means over all processes.

    Args:
        device, max_epochs, train_data_loader, kwargs: as in :class:`AlternatingTrainer`.
        network: target network, from the source to the target domain.
        optimizer: over its parameters.
        loss_function: Eq. 5, called with ``(pred, target)``.
        prepare_batch: gives the synthetic source and the target of a batch, as :class:`SyntheticPair` does, or
            :class:`RealPair` where a data set holds synthetic sources.
        real_weight: of Eq. 5 on the real pair.
        source_key: real images of the source domain that lie on the target.
        mask_key: images ``(B, C, H, W)`` that are 1 where these count, and 0 where not.
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable,
        network: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        prepare_batch: Callable[..., tuple[torch.Tensor, torch.Tensor]],
        real_weight: float = 1.0,
        source_key: str = "source",
        mask_key: str = "mask",
        **kwargs: Any,
    ) -> None:
        super().__init__(device, max_epochs, train_data_loader, prepare_batch=prepare_batch, **kwargs)
        self.network = network
        self.optimizers = [optimizer]
        self.loss_function = loss_function
        self.real_weight = real_weight
        self.source_key = source_key
        self.mask_key = mask_key

    def _iteration(self, engine: Engine, batchdata: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        with self.precision.autocast():
            synthetic, target = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        source, mask, more = self._real(batchdata, synthetic)
        self.network.train()
        images = torch.cat([synthetic, source])  # group norm keeps images apart, so this is two passes in one
        predicted = self._run(self.network, images)
        labels = torch.cat([target, target])
        engine.state.output = {Keys.IMAGE: images.detach(), Keys.LABEL: labels, Keys.PRED: predicted.detach()}
        engine.fire_event(IterationEvents.FORWARD_COMPLETED)
        of_synthetic, of_real = predicted.chunk(2)
        losses = {
            "synthetic_loss": self._run(self.loss_function, of_synthetic, target),
            "real_loss": self._run(self.loss_function, torch.lerp(target, of_real, mask), target),
            **more,
        }
        loss = losses["synthetic_loss"] + self.real_weight * losses["real_loss"] + sum(more.values())
        self._step(loss, *self.optimizers)
        engine.state.output |= mean_over_ranks({Keys.LOSS: loss, **losses, "counted": mask.mean()})
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _real(
        self, batchdata: Mapping[str, torch.Tensor], synthetic: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Return the real source on the target, its mask, and what else is to be minimised, by name."""
        source, mask = self._images(batchdata, self.source_key, self.mask_key)
        return source, mask, {}
