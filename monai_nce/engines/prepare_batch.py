"""``prepare_batch`` of MONAI's ``SupervisedTrainer`` for the classifier's stage, stage 2 and plain regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

__all__ = ["DomainBatch", "RealPair", "SyntheticPair", "on_device"]


def on_device(
    batchdata: Mapping[str, torch.Tensor],
    keys: Sequence[str],
    device: str | torch.device | None = None,
    non_blocking: bool = False,
    **kwargs: Any,
) -> list[torch.Tensor]:
    """Images of a batch where and as the networks take them: channels last, like their weights (:func:`parallel`).

    With images of another layout every concatenation in the generator would be converted once more.

    Args:
        batchdata: of the data loader.
        keys: of the images that are wanted.
        device: where to.
        non_blocking: do not wait for the copy.
        kwargs: for ``torch.Tensor.to``.

    Shape:
        - each image: ``(B, C, H, W)``
    """
    layout = {"memory_format": torch.channels_last, **kwargs}
    return [batchdata[key].to(device=device, non_blocking=non_blocking, **layout) for key in keys]


class RealPair:
    """The images as they were acquired, aligned or not: what regression without stage 1 learns from (decision 28).

    Args:
        source_key: images that the network is given; ``aligned_source`` makes the oracle.
        target_key: images that it should give.
    """

    def __init__(self, source_key: str = "source", target_key: str = "target") -> None:
        self.source_key = source_key
        self.target_key = target_key

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Shape:
            - each image of the batch and of the output: ``(B, C, H, W)``
        """
        source, target = on_device(batchdata, (self.source_key, self.target_key), device, non_blocking, **kwargs)
        return source, target


class DomainBatch(RealPair):
    """Stacks of both domains in one batch, with the domain as the label (paper §3.2: NECT against CECT).

    Args:
        source_key: images of class 0.
        target_key: images of class 1.
    """

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Shape:
            - each image of the batch: ``(B, C, H, W)``
            - output: images ``(2 B, C, H, W)`` and labels ``(2 B,)``
        """
        source, target = super().__call__(batchdata, device, non_blocking, **kwargs)
        labels = torch.cat([source.new_zeros(len(source)), target.new_ones(len(target))]).long()
        return torch.cat([source, target]), labels


class SyntheticPair:
    """A real target image and the synthetic source that the frozen auxiliary generator makes of it (paper §3.2).

    The pair is aligned, which is the point of stage 1. The auxiliary generator runs in eval mode and without gradient.

    Args:
        auxiliary: generator from the target domain to the source domain, trained in stage 1.
        target_key: images of the target domain.
    """

    def __init__(self, auxiliary: nn.Module, target_key: str = "target") -> None:
        self.auxiliary = auxiliary
        self.target_key = target_key

    def __call__(
        self,
        batchdata: Mapping[str, torch.Tensor],
        device: str | torch.device | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Shape:
            - image of the batch: ``(B, C, H, W)``
            - output: synthetic source and real target, ``(B, C, H, W)`` each
        """
        (target,) = on_device(batchdata, (self.target_key,), device, non_blocking, **kwargs)
        self.auxiliary.eval()
        with torch.no_grad():
            # under autocast the network's output may be of a short type, and losses want fp32
            return self.auxiliary(target).float(), target
