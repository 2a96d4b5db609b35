"""Compute the perceptual loss of stage 2 (paper Eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from monai_nce.errors import InputError

__all__ = ["PerceptualLoss", "check_same_shape"]


def check_same_shape(pred: torch.Tensor, target: torch.Tensor) -> None:
    """Raise ``ValueError`` when the shapes differ, since losses would broadcast them."""
    if pred.shape != target.shape:
        raise ValueError(f"expected pred and target of one shape but got {tuple(pred.shape)} and {tuple(target.shape)}")


class PerceptualLoss(nn.Module):
    """Compute a weighted L1 distance of a frozen network's feature maps (paper §3.2, Eq. 4).

    ``E[ sum_i w_i || phi_i(target) - phi_i(pred) ||_1 / (W_i H_i C_i) ]``: per map the mean absolute difference.

    From the first call on the network is frozen and in eval mode, whatever ``train()`` says: its batch-norm statistics
    must not move. Gradients pass through it to ``pred``; ``target`` is taken without gradient. Under autocast the
    network runs in the short type; the distances are computed in fp32.

    Args:
        network: has ``features(x, count) -> list of maps``, as :class:`monai_nce.networks.DomainClassifier`.
        layer_weights: the w_i of Eq. 4, one per map; §4.1: 1/32, 1/16, 1/8, 1/4.

    Raises:
        InputError: for more weights than the network has maps, if its ``feature_count`` says how many.
        ValueError: without weights.
    """

    def __init__(self, network: nn.Module, layer_weights: Sequence[float] = (1 / 32, 1 / 16, 1 / 8, 1 / 4)) -> None:
        super().__init__()
        if not layer_weights:
            raise ValueError("expected at least one layer weight but got none")
        maps = getattr(network, "feature_count", None)
        if maps is not None and len(layer_weights) > maps:
            raise InputError(
                f"layer_weights: expected at most {maps}, one per feature map, but got {len(layer_weights)}"
            )
        self.network = network
        self.layer_weights = tuple(layer_weights)

    def forward(self, pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """
        Shape:
            - pred, target: ``(B, C, H, W)``
            - output: scalar

        Raises:
            ValueError: when the shapes differ: nothing is broadcast.
        """
        check_same_shape(pred, target)
        # here and not in the constructor: the network may still be in training when this loss is made
        self.network.requires_grad_(False).eval()
        count = len(self.layer_weights)
        with torch.no_grad():
            target_maps = self.network.features(target, count)  # type: ignore[operator]
        pred_maps = self.network.features(pred, count)  # type: ignore[operator]
        losses = [
            weight * (_at_least_fp32(t) - _at_least_fp32(p)).abs().mean()
            for weight, t, p in zip(self.layer_weights, target_maps, pred_maps, strict=True)
        ]
        return torch.stack(losses).sum()


def _at_least_fp32(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
