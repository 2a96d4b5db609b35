"""Compute the three-class adversarial losses of stage 1 (paper Eqs. 1 and 2)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["ThreeClassAdversarialLoss"]


class ThreeClassAdversarialLoss(nn.Module):
    """Compute cross-entropies of a discriminator that tells apart three classes (paper §3.1, Eqs. 1 and 2).

    The paper writes them for the auxiliary generator CECT→NECT, whose input domain C is CECT and output domain N is
    NECT. Exchange the domains and they train a generator the other way, as the Single baseline does.

    The logits' order is ``INPUT_DOMAIN`` (real C), ``OUTPUT_DOMAIN`` (real N), ``SYNTHETIC`` (S). Expectations are
    means over the batch, and over the patches where a discriminator judges these.
    """

    INPUT_DOMAIN = 0
    OUTPUT_DOMAIN = 1
    SYNTHETIC = 2

    @staticmethod
    def _cross_entropy(logits: torch.Tensor, label: int) -> torch.Tensor:
        if logits.ndim not in (2, 4) or logits.shape[1] != 3:
            raise ValueError(f"expected logits of shape (B, 3) or (B, 3, H, W) but got {tuple(logits.shape)}")
        labels = torch.full((len(logits), *logits.shape[2:]), label, device=logits.device)
        return functional.cross_entropy(logits, labels)

    def discriminator_loss(
        self, input_logits: torch.Tensor, output_logits: torch.Tensor, synthetic_logits: torch.Tensor
    ) -> torch.Tensor:
        """Compute Eq. 1: ``E_C[H(1_C, D(x)) + H(1_S, D(G(x)))] + E_N[H(1_N, D(x))]``.

        Args:
            input_logits: of real images of the input domain, ``D(x), x ~ p_C``.
            output_logits: of real images of the output domain, ``D(x), x ~ p_N``.
            synthetic_logits: of translated images, ``D(G(x)), x ~ p_C``.

        Shape:
            - each argument: ``(B, 3)``, or ``(B, 3, H, W)`` of patches
            - output: scalar
        """
        return (
            self._cross_entropy(input_logits, self.INPUT_DOMAIN)
            + self._cross_entropy(synthetic_logits, self.SYNTHETIC)
            + self._cross_entropy(output_logits, self.OUTPUT_DOMAIN)
        )

    def generator_loss(self, synthetic_logits: torch.Tensor) -> torch.Tensor:
        """Compute Eq. 2: ``E_C[H(1_N, D(G(x)))]``.

        Args:
            synthetic_logits: of translated images, ``D(G(x)), x ~ p_C``.

        Shape:
            - synthetic_logits: ``(B, 3)``, or ``(B, 3, H, W)`` of patches
            - output: scalar
        """
        return self._cross_entropy(synthetic_logits, self.OUTPUT_DOMAIN)
