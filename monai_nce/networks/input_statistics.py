"""What a generator's features are like: what to take off them and to scale them by before they are stored shorter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .air import AIR
from .inference_generator import round_to_bf16
from .spade import SPADEResidualBlock

if TYPE_CHECKING:
    from .generator import Generator

__all__ = ["input_statistics"]

# the body that offsets are learnt from: half axes as parts of half an image; intensity, 20 HU in the paper's window
BODY_PIXELS, BODY_HEIGHT, BODY_WIDTH, BODY = 256, 0.6, 0.8, -0.2
BACKGROUND = -0.9  # intensity below which a pixel is taken for background, whose values are of no interest


def input_statistics(generator: Generator) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Means over a body of what goes into a generator's blocks, their parts and the head, and how far it reaches.

    The body is always the same, so that a result depends on nothing but its scan and the weights. Offsets learnt from a
    real stack would hardly be better (decision ap).

    Args:
        generator: left as it is.

    Returns:
        ``(channels,)`` by the module's name: means, for a norm of each group, for all of its channels; and the
        difference of the largest and the smallest value, of background too.
    """
    means, reaches = {}, {}
    stack = _body(generator.size_factor).to(generator.stem.weight).expand(1, generator.slices, -1, -1)

    def learn(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            x = inputs[0]
            body = (functional.adaptive_avg_pool2d(stack[:, :1], (x.shape[2], x.shape[3])) > BACKGROUND).to(x)
            mean = (x * body).sum(dim=(0, 2, 3)) / body.sum()
            if isinstance(module, nn.GroupNorm):
                mean = mean.unflatten(0, (module.num_groups, -1)).mean(dim=1, keepdim=True)
                mean = mean.expand(-1, module.num_channels // module.num_groups).flatten()
            # the same whatever the number of threads they were summed by
            means[name] = round_to_bf16(mean)
            reaches[name] = round_to_bf16(x.amax(dim=(0, 2, 3)) - x.amin(dim=(0, 2, 3)))

        return hook

    handles = [
        module.register_forward_pre_hook(learn(name))
        for name, module in generator.named_modules()
        if isinstance(module, SPADEResidualBlock | nn.GroupNorm) or name == "head" or name.endswith(".conv_2")
    ]
    try:
        with torch.no_grad():
            generator(stack)
    finally:
        for handle in handles:
            handle.remove()
    return means, reaches


def _body(size_factor: int) -> torch.Tensor:
    """An ellipse of soft tissue in air, ``(1, 1, N, N)``, N divisible by ``size_factor``."""
    size = -(-BODY_PIXELS // size_factor) * size_factor
    position = (torch.arange(size) + 0.5) / size * 2 - 1
    inside = (position[:, None] / BODY_HEIGHT) ** 2 + (position / BODY_WIDTH) ** 2 < 1
    return torch.where(inside, BODY, AIR)[None, None]
