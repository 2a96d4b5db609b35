"""The generator rearranged for inference: the same function with less work and smaller rounding errors."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .spade import SPADE, SPADEResidualBlock

if TYPE_CHECKING:
    from .generator import Generator

__all__ = ["ActivatedConv2d", "InferenceGenerator", "UpsampledHead"]

# bilinear upsampling by two: what an output pixel of even and of odd position takes from its neighbours
UPSAMPLING = ({-1: 0.25, 0: 0.75}, {0: 0.75, 1: 0.25})


class ActivatedConv2d(nn.Conv2d):
    """A convolution that keeps the size and is followed by a leaky ReLU, so that a backend can compute both at once.

    Args:
        weight: ``(out_channels, in_channels, K, K)``, K odd.
        bias: ``(out_channels,)`` or None.
        dtype: of the weights.
        negative_slope: of the leaky ReLU; None has none.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        dtype: torch.dtype,
        negative_slope: float | None = None,
    ) -> None:
        out_channels, in_channels, size, _ = weight.shape
        super().__init__(in_channels, out_channels, size, padding=size // 2, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(weight.detach().to(dtype, copy=True))
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(dtype, copy=True))
        self.negative_slope = negative_slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        return y if self.negative_slope is None else functional.leaky_relu(y, self.negative_slope, inplace=True)


class InferenceSPADE(nn.Module):
    """:class:`SPADE` and the leaky ReLU behind it; convolutions in ``dtype``, what lies between them in fp32."""

    def __init__(self, spade: SPADE, dtype: torch.dtype, negative_slope: float) -> None:
        super().__init__()
        convolution, activation = spade.hidden
        assert isinstance(convolution, nn.Conv2d) and isinstance(activation, nn.LeakyReLU)
        self.norm = copy.deepcopy(spade.norm)
        self.hidden = ActivatedConv2d(convolution.weight, convolution.bias, dtype, activation.negative_slope)
        self.gamma_beta = ActivatedConv2d(spade.gamma_beta.weight, spade.gamma_beta.bias, dtype)
        self.negative_slope = negative_slope

    def forward(self, x: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        gamma, beta = torch.chunk(self.gamma_beta(self.hidden(guide)), 2, dim=1)
        y = self.norm(x.float()).mul_(gamma.float() + 1).add_(beta)  # in place, as memory is what this waits for
        return functional.leaky_relu(y, self.negative_slope, inplace=True)


class SplitConv2d(nn.Module):
    """A convolution of features and image side by side as the sum of two, which spares putting them together.

    Args:
        convolution: of ``channels`` of the features, then the image's channels; none are left over in the first block.
        channels: of the features.
        dtype: of the weights.
        bias: instead of the convolution's own.
    """

    def __init__(
        self, convolution: nn.Conv2d, channels: int, dtype: torch.dtype, bias: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        weight = convolution.weight
        self.features = ActivatedConv2d(weight[:, :channels], convolution.bias if bias is None else bias, dtype)
        self.image: ActivatedConv2d | None = None
        if weight.shape[1] > channels:
            self.image = ActivatedConv2d(weight[:, channels:], None, dtype)

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        y = self.features(features).float()
        return y if self.image is None else y.add_(self.image(image))


class InferenceBlock(nn.Module):
    """:class:`SPADEResidualBlock` whose input is features and guide, which it was concatenated from; output in fp32."""

    def __init__(
        self,
        block: SPADEResidualBlock,
        channels: int,
        dtype: torch.dtype,
        bias_1: torch.Tensor | None = None,
        bias_2: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        slope = block.activation.negative_slope
        self.conv_1 = SplitConv2d(block.conv_1, channels, dtype, bias_1)
        self.spade_1 = InferenceSPADE(block.spade_1, dtype, slope)
        self.conv_2 = ActivatedConv2d(block.conv_2.weight, bias_2, dtype)
        self.spade_2 = InferenceSPADE(block.spade_2, dtype, slope)
        self.shortcut = SplitConv2d(block.shortcut, channels, dtype) if isinstance(block.shortcut, nn.Conv2d) else None

    def forward(self, features: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        y = self.spade_1(self.conv_1(features, guide), guide).to(features.dtype)
        y = self.spade_2(self.conv_2(y), guide)
        if self.shortcut is not None:
            return y.add_(self.shortcut(features, guide))
        return y.add_(features if self.conv_1.image is None else torch.cat([features, guide], dim=1))


class UpsampledHead(nn.Module):
    """``tanh(head(cat(upsample(features), image)))`` computed on the features' own grid.

    Bilinear upsampling by two and a 3x3 convolution are linear: each of the four pixels that a feature pixel becomes
    is another 3x3 convolution of the features. So the finest grid, where memory is moved most, never holds them. The
    pixels along the edge, where the convolution sees zeros, are computed the plain way.

    Args:
        head: 3x3 convolution with a padding of one, of the features' channels, then the image's.
        channels: of the features.

    Shape:
        - features: ``(B, channels, H, W)``
        - image: ``(B, C, 2 H, 2 W)``
        - output: ``(B, head.out_channels, 2 H, 2 W)``
    """

    def __init__(self, head: nn.Conv2d, channels: int) -> None:
        super().__init__()
        self.head = copy.deepcopy(head)
        # taps[p, t, d]: how much of feature d - 1 reaches an output of parity p through tap t of the convolution
        taps = torch.zeros(2, 3, 3, dtype=torch.float64, device=head.weight.device)
        for parity in range(2):
            for tap in range(3):
                feature, upsampled = divmod(parity + tap - 1, 2)
                for offset, share in UPSAMPLING[upsampled].items():
                    taps[parity, tap, feature + offset + 1] += share
        weight = head.weight.detach().double()
        fused = torch.einsum("octs,pti,qsj->opqcij", weight[:, :channels], taps, taps).flatten(0, 2)
        self.features = nn.Conv2d(channels, 4 * head.out_channels, kernel_size=3, bias=head.bias is not None)
        self.features.weight = nn.Parameter(fused.to(head.weight.dtype))
        if head.bias is not None:
            self.features.bias = nn.Parameter(head.bias.detach().repeat_interleave(4))
        self.image = nn.Conv2d(head.in_channels - channels, head.out_channels, kernel_size=3, padding=1, bias=False)
        self.image.weight = nn.Parameter(head.weight.detach()[:, channels:].clone())

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        y = self.features(functional.pad(features, (1, 1, 1, 1), mode="replicate"))
        y = torch.tanh(functional.pixel_shuffle(y, 2) + self.image(image))
        top = self._plain(features[:, :, :2], image[:, :, :4])[:, :, :1]
        bottom = self._plain(features[:, :, -2:], image[:, :, -4:])[:, :, -1:]
        left = self._plain(features[..., :2], image[..., :4])[..., :1]
        right = self._plain(features[..., -2:], image[..., -4:])[..., -1:]
        y = torch.cat([top, y[:, :, 1:-1], bottom], dim=2)
        return torch.cat([left, y[..., 1:-1], right], dim=3)

    def _plain(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        features = functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
        return torch.tanh(self.head(torch.cat([features, image], dim=1)))


class InferenceGenerator(nn.Module):
    """What :class:`Generator` computes, rearranged; made by :meth:`Generator.for_inference`, not for training.

    Convolutions are in ``dtype``; norms, sums and the last layer are in fp32, and so are input and output, for near 1
    bf16 has steps of 0.6 HU in the paper's window. The convolutions before a norm get a bias that keeps their output
    around zero, where a short format is finest; the norm takes it out again.

    Args:
        generator: a :class:`Generator`; left as it is.
        dtype: of the convolutions.
        biases: by name of the norm, ``(out_channels,)`` for the convolution before it; constant within its groups.

    Shape:
        - x and output: ``(B, slices, H, W)``, float32
    """

    def __init__(self, generator: Generator, dtype: torch.dtype, biases: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.dtype = dtype
        self.residual = generator.residual
        self.stem = ActivatedConv2d(generator.stem.weight, generator.stem.bias, dtype)
        self.blocks = nn.ModuleList()
        channels = generator.stem.out_channels
        for level, block in enumerate(generator.blocks):
            assert isinstance(block, SPADEResidualBlock)
            centred = (biases.get(f"blocks.{level}.{name}.norm") for name in ("spade_1", "spade_2"))
            self.blocks.append(InferenceBlock(block, channels, dtype, *centred))
            channels = block.conv_2.out_channels
        self.head = UpsampledHead(generator.head, channels)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        guides = [x]
        for _ in self.blocks:
            guides.append(functional.avg_pool2d(guides[-1], kernel_size=2))
        guides = [guide.to(self.dtype) for guide in guides[1:]]
        y = self.stem(guides[-1])
        for level, block in enumerate(self.blocks):
            if level:
                y = functional.interpolate(y.to(self.dtype), scale_factor=2.0, mode="bilinear", align_corners=False)
            y = block(y, guides[-1 - level])
        y = self.head(y, x)
        return x + y - y.abs() * x if self.residual else y
