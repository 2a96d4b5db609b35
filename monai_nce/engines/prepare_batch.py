"""Prepare batches for MONAI's ``SupervisedTrainer``: classifier, stage 2 and plain regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.engines.utils import default_prepare_batch
from torch import nn

from monai_nce.contrast import ContrastCondition, append_condition, raise_contrast
from monai_nce.errors import InputError

__all__ = ["DomainBatch", "RealPair", "SyntheticPair", "VolumePair", "on_device"]

CONDITION, RISE = "condition", "rise"
ALIGNED = "aligned_source"
Pair = tuple[torch.Tensor, torch.Tensor]


def on_device(
    batchdata: Mapping[str, torch.Tensor],
    keys: Sequence[str],
    device: str | torch.device | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> list[torch.Tensor]:
    """Move images ``(B, C, H, W)`` of a batch to the device, channels last like the networks' weights.

    With images of another layout every concatenation in the generator would be converted once more.
    """
    layout = {"memory_format": torch.channels_last, **kwargs}
    return [batchdata[key].to(device=device, non_blocking=non_blocking, **layout) for key in keys]


def _told(source: torch.Tensor, target: torch.Tensor, batchdata: Mapping[str, torch.Tensor]) -> Pair:
    """Append the batch's condition to the source, if it has one, and raise the target's contrast to what that says."""
    if RISE in batchdata:
        target = raise_contrast(source, target, batchdata[RISE])
    if CONDITION in batchdata:
        source = append_condition(source, batchdata[CONDITION]).contiguous(memory_format=torch.channels_last)
    return source, target


class RealPair:
    """Take source and target as they were acquired, aligned or not: regression without stage 1 (decision 28).

    A ``condition`` of the batch goes behind the source's channels, and the target is raised by its ``rise``. Called as
    MONAI calls a ``prepare_batch``, with what :func:`on_device` takes but the keys.

    Args:
        source_key: images that the network is given; ``aligned_source`` makes the oracle.
        target_key: images that it should give.
        condition: the training's, to be refused before any work if it raises targets that are not aligned.

    Shape:
        - each image of the batch and of the output: ``(B, C, H, W)``, with a condition ``(B, K)`` the output's first
          ``(B, C + K, H, W)``

    Raises:
        InputError: for a ``condition``, or when called for a batch, that raises targets of unaligned sources.
    """

    def __init__(
        self, source_key: str = "source", target_key: str = "target", condition: ContrastCondition | None = None
    ) -> None:
        self.keys = (source_key, target_key)
        self._check(raised=condition is not None and condition.raised > 0)

    def _check(self, raised: bool) -> None:
        if raised and self.keys[0] != ALIGNED:
            raise InputError(
                f"condition: only aligned pairs can be raised; give --condition#raised 0 for {self.keys[0]}"
            )

    def __call__(self, batchdata: Mapping[str, torch.Tensor], *args: Any, **kwargs: Any) -> Pair:
        source, target = on_device(batchdata, self.keys, *args, **kwargs)
        self._check(raised=bool((batchdata.get(RISE, torch.ones(1)) != 1).any()))
        return _told(source, target, batchdata)


class DomainBatch(RealPair):
    """Put stacks of both domains into one batch, labelled 0 for source and 1 for target (paper §3.2).

    Shape:
        - each image of the batch: ``(B, C, H, W)``
        - output: images ``(2 B, C, H, W)`` and labels ``(2 B,)``
    """

    def __call__(self, batchdata: Mapping[str, torch.Tensor], *args: Any, **kwargs: Any) -> Pair:
        source, target = super().__call__(batchdata, *args, **kwargs)
        labels = torch.cat([source.new_zeros(len(source)), target.new_ones(len(target))]).long()
        return torch.cat([source, target]), labels


class SyntheticPair:
    """Pair a real target with the synthetic source that the frozen auxiliary generator makes of it (paper §3.2).

    The pair is aligned, which is the point of stage 1. The auxiliary generator runs in eval mode and without gradient.

    Args:
        auxiliary: generator from the target domain to the source domain, trained in stage 1.
        target_key: images of the target domain.

    Raises:
        InputError: when called for the first batch, if the auxiliary generator gives its input back as one does that
            was never trained: the target network would have nothing to learn.

    Shape:
        - image of the batch: ``(B, C, H, W)``
        - output: synthetic source and real target, ``(B, C, H, W)`` each; with a condition of the target in the batch,
          ``(B, K)``, the first is ``(B, C + K, H, W)``, and the second is raised by ``rise``, ``(B,)``
    """

    def __init__(self, auxiliary: nn.Module, target_key: str = "target") -> None:
        self.auxiliary = auxiliary
        self.target_key = target_key
        self._looked = False

    def __call__(self, batchdata: Mapping[str, torch.Tensor], *args: Any, **kwargs: Any) -> Pair:
        (target,) = on_device(batchdata, (self.target_key,), *args, **kwargs)
        self.auxiliary.eval()
        with torch.no_grad():
            # under autocast the network's output may be of a short type, and losses want fp32
            source = self.auxiliary(target).float()
        if not self._looked:
            self._look(source, target)
        return _told(source, target, batchdata)

    def _look(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Compare within the window: beyond it a trained network may leave values as they are."""
        within = target.abs() < 1
        self._looked = bool(within.any())
        if self._looked and torch.equal(source[within], target[within].float()):
            raise InputError(
                "stage 2: the auxiliary network was never trained, it gives back what it gets; run stage 1 before, or "
                "load trained weights into it"
            )


class VolumePair:
    """Take ``image`` and ``label`` of an evaluator's batch, and its ``condition``, if it has one, for the inferer."""

    def __call__(self, batchdata: Mapping[str, torch.Tensor], *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        image, label = default_prepare_batch(batchdata, *args, **kwargs)
        if CONDITION not in batchdata:
            return image, label
        return image, label, (), {CONDITION: batchdata[CONDITION].to(image.device)}
