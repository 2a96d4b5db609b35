"""A whole volume through a network that takes slice stacks (paper §3.3; decision 18)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch.nn import functional
from tqdm.auto import tqdm

from monai_nce.errors import InputError
from monai_nce.transforms import merge_slice_stacks, slice_stacks

__all__ = ["SliceStackInferer"]


class SliceStackInferer(Inferer):
    """Run a network over every slice stack of a volume and average the overlapping predictions.

    Edge slices replicate, so volumes of one or two slices work. In-plane sizes that the network cannot take are padded
    with ``padding_value`` and cropped again. A MetaTensor comes back as one, with the input's geometry.

    Args:
        slices: slices of a stack, odd.
        batch_size: stacks per forward pass.
        size_divisor: what in-plane sizes must be divisible by; None asks the network for its ``size_factor``, and
            takes 1 if it has none.
        padding_value: intensity of the padding; -1 is air in a windowed CT.
        progress: show a bar per volume.

    Raises:
        ValueError: for a count below 1 or a volume that is not ``(B, 1, H, W, D)``.

    Example:
        >>> SliceStackInferer()(torch.zeros(1, 1, 20, 30, 5), torch.nn.Identity()).shape
        torch.Size([1, 1, 20, 30, 5])
    """

    def __init__(
        self,
        slices: int = 3,
        batch_size: int = 8,
        size_divisor: int | None = None,
        padding_value: float = -1.0,
        progress: bool = False,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise InputError(f"expected a batch_size of at least 1 but got {batch_size}")
        if size_divisor is not None and size_divisor < 1:
            raise ValueError(f"expected a size_divisor of at least 1 but got {size_divisor}")
        self.slices = slices
        self.batch_size = batch_size
        self.size_divisor = size_divisor
        self.padding_value = padding_value
        self.progress = progress

    def __call__(
        self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """
        Args:
            inputs: volumes, intensities in [-1, 1].
            network: takes ``(N, slices, H, W)`` and gives the same shape; ``args`` and ``kwargs`` are passed on.

        Shape:
            - inputs and output: ``(B, 1, H, W, D)``
        """
        if inputs.ndim != 5 or inputs.shape[1] != 1:
            raise ValueError(f"expected volumes of shape (B, 1, H, W, D) but got {tuple(inputs.shape)}")
        divisor = self.size_divisor
        if divisor is None:
            divisor = int(getattr(getattr(network, "module", network), "size_factor", 1))
        plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        volumes = [self._one(volume, divisor, network, *args, **kwargs) for volume in plain]
        output = torch.stack(volumes)
        if isinstance(inputs, MetaTensor):
            return MetaTensor(output).copy_meta_from(inputs)
        return output

    def _one(
        self, volume: torch.Tensor, divisor: int, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        height, width = volume.shape[1:3]
        pad_h, pad_w = -height % divisor, -width % divisor
        top, left = pad_h // 2, pad_w // 2
        stacks = functional.pad(
            slice_stacks(volume, self.slices), (left, pad_w - left, top, pad_h - top), value=self.padding_value
        )
        batches = tqdm(
            stacks.split(self.batch_size), desc="slices", unit="batch", leave=False, disable=not self.progress
        )
        outputs = torch.cat([network(batch, *args, **kwargs).float() for batch in batches])
        return merge_slice_stacks(outputs[:, :, top : top + height, left : left + width])
