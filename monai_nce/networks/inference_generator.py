"""The generator rearranged for inference: the same function with less work and smaller rounding errors."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from .air import AIR, Box, Index, SkipAir, body_box
from .eight_bits import EightBitFeatures, EightBitPair, reach_of
from .fused_conv import FusedConv2d
from .spade import SPADE, SPADEResidualBlock

if TYPE_CHECKING:
    from .generator import Generator

__all__ = ["CentredConv2d", "InferenceGenerator", "UpsampledHead", "round_to_bf16"]

# bilinear upsampling by two: what an output pixel of even and of odd position takes from its neighbours
UPSAMPLING = ({-1: 0.25, 0: 0.75}, {0: 0.75, 1: 0.25})
COARSE = 16  # times coarser than the image: a grid whose features may be rounded to 8 bits
LEAST_WEIGHTS = 250_000  # of a convolution; a smaller one is as fast in 16 bits


class CentredConv2d(nn.Module):
    """A convolution of features less an offset, and of the image beside them, as the sum of two.

    Short formats are finest around zero, so a constant per channel is taken off the features. What the convolution
    would make of it, which is less along the edges, comes by way of two channels of ones in the guide. Biases are taken
    to numbers that bf16 has, for some backends round them to such; what that leaves over goes the same way.

    Args:
        convolution: of the features' channels, then the image's, if any.
        offset: ``(channels,)``, taken off the features.
        slices: channels of the image.
        dtype: of the weights.
        bias: ``(out_channels,)``, to be added.
        reach: of the features, to compute with them in 8 bits, as :class:`EightBitFeatures` takes it; or None.

    Shape:
        - features: ``(B, channels, H, W)``
        - guide: ``(B, slices + 2, H, W)``, the image and ones
        - output: ``(B, out_channels, H, W)``
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        offset: torch.Tensor,
        slices: int,
        dtype: torch.dtype,
        bias: torch.Tensor | None = None,
        reach: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        channels, middle = len(offset), convolution.kernel_size[0] // 2
        weight, image = convolution.weight.detach().split([channels, convolution.in_channels - channels], dim=1)
        constant = torch.einsum("ochw,c->ohw", weight, offset)
        inside = constant.sum(dim=(1, 2))
        total = inside.clone()
        for more in (convolution.bias, bias):
            if more is not None:
                total += more.detach()
        # away from the edges the summand has no constant, as it is rounded too where it is stored
        coarse, features_bias, guide_bias = round_to_bf16(constant), round_to_bf16(total), round_to_bf16(-inside)
        fine = constant - coarse
        fine[:, middle, middle] += (total - features_bias) - (inside + guide_bias)
        image = functional.pad(image, (0, 0, 0, 0, 0, slices - image.shape[1]))
        self.features: nn.Module
        if reach is None:
            self.features = FusedConv2d(weight, features_bias, dtype)
        else:
            self.features = EightBitFeatures(weight, features_bias, reach)
        self.guide = FusedConv2d(torch.cat([image, coarse[:, None], fine[:, None]], dim=1), guide_bias, dtype)
        self.sees_image = convolution.in_channels > channels
        self._of_ones: tuple[tuple[torch.Size, torch.device], torch.Tensor] | None = None

    def forward(self, features: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
        if self.sees_image or torch.compiler.is_compiling():
            return self.features(features, self.guide(guide))
        # a copy, as the convolution may overwrite it
        summand = self.of_ones(guide).expand(len(guide), -1, -1, -1)
        return self.features(features, summand.clone(memory_format=torch.channels_last))

    def of_ones(self, guide: torch.Tensor) -> torch.Tensor:
        """What a guide gives whose image is not looked at, the same for all images of a size."""
        known, key = self._of_ones, (guide.shape[2:], guide.device)
        if known is None or known[0] != key:
            self._of_ones = known = key, self.guide(torch.ones_like(guide[:1], memory_format=torch.channels_last))
        return known[1]


def round_to_bf16(values: torch.Tensor) -> torch.Tensor:
    """The nearest numbers that bf16 has, in the format that ``values`` are in."""
    return values.to(torch.bfloat16).to(values.dtype)


class InferenceSPADE(nn.Module):
    """:class:`SPADE` and the leaky ReLU behind it; convolutions in ``dtype``, what lies between them in fp32.

    Args:
        spade: left as it is.
        dtype: of the convolutions.
        negative_slope: of the leaky ReLU behind it.
        eight_bits: compute gamma and beta by :class:`EightBitPair` where that pays; on a coarse grid by
            :class:`EightBitFeatures`, and of the whole image, as that is small.
        coarser: how many times coarser than the image the grid is.
    """

    def __init__(self, spade: SPADE, dtype: torch.dtype, negative_slope: float, eight_bits: bool, coarser: int) -> None:
        super().__init__()
        (first, activation), second = spade.hidden, spade.gamma_beta
        assert isinstance(first, nn.Conv2d) and isinstance(activation, nn.LeakyReLU)
        slope = activation.negative_slope
        self.norm = copy.deepcopy(spade.norm)
        self.gamma_beta: nn.Module
        if eight_bits and _in_eight_bits(second, coarser):
            hidden = FusedConv2d(first.weight, first.bias, torch.float32, slope)
            self.gamma_beta = WholeImage(hidden, EightBitFeatures(second.weight, second.bias, reach_of(first)))
        else:
            hidden = FusedConv2d(first.weight, first.bias, dtype, slope)
            air = hidden.weight.new_full((first.in_channels,), AIR)
            pair = EightBitPair(first, second, slope) if eight_bits else None
            self.gamma_beta = SkipAir(hidden, FusedConv2d(second.weight, second.bias, dtype), air=air, inside=pair)
        self.negative_slope = negative_slope

    def forward(self, x: torch.Tensor, image: torch.Tensor, body: Box | None) -> torch.Tensor:
        y = self.norm(x.float())
        for where, gamma_beta in self.gamma_beta(image, body):
            part = y[where]
            gamma, beta = gamma_beta.chunk(2, dim=1)
            part.addcmul_(part, gamma.float()).add_(beta.float())  # in place, as memory is what this waits for
        return functional.leaky_relu(y, self.negative_slope, inplace=True)


def _in_eight_bits(convolution: nn.Conv2d, coarser: int) -> bool:
    """Whether a convolution of features from a grid so many times coarser than the image is to be in 8 bits."""
    return coarser >= COARSE and convolution.weight.numel() >= LEAST_WEIGHTS


class WholeImage(nn.Sequential):
    """Layers that give their result as :class:`SkipAir` does, but leave nothing out."""

    def forward(self, guide: torch.Tensor, body: Box | None = None) -> Iterator[tuple[Index, torch.Tensor]]:
        yield (slice(None),), super().forward(guide)


class InferenceBlock(nn.Module):
    """:class:`SPADEResidualBlock` on features and guide, which its input was concatenated from; output in fp32.

    Args:
        block: left as it is.
        offset: ``(channels,)``, taken off the features.
        output_offset: ``(out_channels,)``, to be taken off the output; where there is no convolution in the shortcut to
            do it, the output keeps the features' offset.
        means: of the inputs of ``conv_2`` and the two norms, by name.
        slices: channels of the image.
        dtype: of the convolutions.
        reaches: of the inputs of ``conv_1`` and ``conv_2``, to compute partly in 8 bits; or None.
        coarser: how many times coarser than the image the block's grid is.
    """

    def __init__(
        self,
        block: SPADEResidualBlock,
        offset: torch.Tensor,
        output_offset: torch.Tensor,
        means: dict[str, torch.Tensor],
        slices: int,
        dtype: torch.dtype,
        reaches: tuple[torch.Tensor, torch.Tensor] | None,
        coarser: int,
    ) -> None:
        super().__init__()
        slope, eight_bits = block.activation.negative_slope, reaches is not None
        reach_1, reach_2 = reaches or (None, None)
        # the features that the first convolution gets come from a grid twice as coarse
        reach_1 = reach_1 if _in_eight_bits(block.conv_1, 2 * coarser) else None
        reach_2 = reach_2 if _in_eight_bits(block.conv_2, coarser) else None
        bias_1, bias_2 = (-means[f"{name}.norm"] for name in ("spade_1", "spade_2"))  # which the norm takes out again
        self.conv_1 = CentredConv2d(block.conv_1, offset, slices, dtype, bias_1, reach_1)
        self.spade_1 = InferenceSPADE(block.spade_1, dtype, slope, eight_bits, coarser)
        self.register_buffer("middle", means["conv_2"][:, None, None].clone())
        self.conv_2 = CentredConv2d(block.conv_2, means["conv_2"], slices, dtype, bias_2, reach_2)
        self.spade_2 = InferenceSPADE(block.spade_2, dtype, slope, eight_bits, coarser)
        self.shortcut: CentredConv2d | None = None
        self.offset = functional.pad(offset, (0, len(output_offset) - len(offset)))
        if isinstance(block.shortcut, nn.Conv2d):
            self.shortcut = CentredConv2d(block.shortcut, offset, slices, dtype, -output_offset)
            self.offset = output_offset

    def forward(self, features: torch.Tensor, image: torch.Tensor, body: Box | None) -> torch.Tensor:
        guide = functional.pad(image.to(features.dtype), (0, 0, 0, 0, 0, 2), value=1.0)
        y = self.spade_1(self.conv_1(features, guide), image, body).sub_(self.middle).to(features.dtype)
        y = self.spade_2(self.conv_2(y, guide), image, body)
        if self.shortcut is not None:
            return y.add_(self.shortcut(features, guide))
        return y.add_(torch.cat([features, guide], dim=1)[:, : y.shape[1]])


class UpsampledHead(nn.Module):
    """``tanh(head(cat(upsample(features), image)))`` computed on the features' own grid.

    Bilinear upsampling by two and a 3x3 convolution are linear: each of the four pixels that a feature pixel becomes
    is another 3x3 convolution of the features. So the finest grid, where memory is moved most, never holds them. The
    two rows along each edge, where other neighbours are missing, are computed the plain way.

    Args:
        head: 3x3 convolution with a padding of one, of the features' channels, then the image's.
        offset: ``(channels,)``, taken off the features.

    Shape:
        - features: ``(B, channels, H, W)``
        - image: ``(B, C, 2 H, 2 W)``
        - output: ``(B, head.out_channels, 2 H, 2 W)``
    """

    offset: torch.Tensor

    def __init__(self, head: nn.Conv2d, offset: torch.Tensor) -> None:
        super().__init__()
        channels = len(offset)
        self.head = copy.deepcopy(head)
        self.register_buffer("offset", offset[:, None, None].clone())
        # taps[p, t, d]: how much of feature d - 1 reaches an output of parity p through tap t of the convolution
        taps = torch.zeros(2, 3, 3, dtype=torch.float64, device=head.weight.device)
        for parity in range(2):
            for tap in range(3):
                feature, upsampled = divmod(parity + tap - 1, 2)
                for neighbour, share in UPSAMPLING[upsampled].items():
                    taps[parity, tap, feature + neighbour + 1] += share
        weight, image_weight = head.weight.detach().split([channels, head.in_channels - channels], dim=1)
        fused = torch.einsum("octs,pti,qsj->opqcij", weight.double(), taps, taps).flatten(0, 2)
        total = torch.einsum("ochw,c->o", weight, offset)
        if head.bias is not None:
            total += head.bias.detach()
        total = total.repeat_interleave(4)
        # in two parts, as some backends round a bias
        self.features = FusedConv2d(fused, round_to_bf16(total), head.weight.dtype)
        # the image's pixels that the four outputs of a feature pixel see are 4 x 4
        shifted = [functional.pad(image_weight, (q, 1 - q, p, 1 - p)) for p in range(2) for q in range(2)]
        self.image = nn.Conv2d(image_weight.shape[1], 4 * head.out_channels, kernel_size=4, stride=2, padding=1)
        self.image.weight = nn.Parameter(torch.stack(shifted, dim=1).flatten(0, 1))
        self.image.bias = nn.Parameter(total - round_to_bf16(total))

    def forward(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        if min(features.shape[2:]) == 1:
            return self._plain(features, image)
        y = _pixel_shuffle(_tanh(self.features(features, self.image(image))))
        top = self._plain(features[:, :, :2], image[:, :, :4])[:, :, :2]
        bottom = self._plain(features[:, :, -2:], image[:, :, -4:])[:, :, -2:]
        left = self._plain(features[..., :2], image[..., :4])[..., :2]
        right = self._plain(features[..., -2:], image[..., -4:])[..., -2:]
        y = torch.cat([top, y[:, :, 2:-2], bottom], dim=2)
        return torch.cat([left, y[..., 2:-2], right], dim=3)

    def _plain(self, features: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        features = features + self.offset
        features = functional.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
        return _tanh(self.head(torch.cat([features, image], dim=1)))


def _tanh(x: torch.Tensor) -> torch.Tensor:
    # on a CPU in a third of the time that torch.tanh takes, and as close to it as float32 is near 1
    return torch.sigmoid(2 * x) * 2 - 1


def _pixel_shuffle(x: torch.Tensor) -> torch.Tensor:
    # by two; from channels that come last in half of the time that functional.pixel_shuffle takes
    return x.unflatten(1, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3).flatten(4, 5).flatten(2, 3)


class InferenceGenerator(nn.Module):
    """What :class:`Generator` computes, rearranged; made by :meth:`Generator.for_inference`, not for training.

    Convolutions are in ``dtype``; norms, sums and the last layer are in fp32, and so are input and output, for near 1
    bf16 has steps of 0.6 HU in the paper's window. What is stored in a short format lies around zero, where that is
    finest: means learnt from a simple image of a body are taken off the features, and convolutions put back what that
    changes. What images of air lead to is kept, so weights must not change after the first pass.

    Args:
        generator: a :class:`Generator`; left as it is.
        dtype: of the convolutions.
        means: of what goes into the generator's modules, by name, as :func:`input_statistics` gives them. Any numbers
            do, as long as they are the same within each group of a norm.
        reaches: likewise, to compute partly in 8 bits, on a CPU only; None does not.

    Shape:
        - x and output: ``(B, slices, H, W)``, float32
    """

    def __init__(
        self,
        generator: Generator,
        dtype: torch.dtype,
        means: dict[str, torch.Tensor],
        reaches: dict[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.image_dtype = dtype if reaches is None else torch.float32
        self.residual = generator.residual
        self.stem = FusedConv2d(generator.stem.weight, generator.stem.bias, dtype)
        self.blocks = nn.ModuleList()
        names = [f"blocks.{level}" for level in range(len(generator.blocks))]
        offset = torch.zeros_like(means["blocks.0"])
        for name, following, block in zip(names, [*names[1:], "head"], generator.blocks, strict=True):
            assert isinstance(block, SPADEResidualBlock)
            own = {key.removeprefix(f"{name}."): value for key, value in means.items() if key.startswith(f"{name}.")}
            output_offset = means[following][: block.conv_2.out_channels]  # the image's channels follow
            of_block = None if reaches is None else (reaches[name][: len(offset)], reaches[f"{name}.conv_2"])
            coarser = 2 ** (len(names) - len(self.blocks))
            ready = InferenceBlock(block, offset, output_offset, own, generator.slices, dtype, of_block, coarser)
            self.blocks.append(ready)
            offset = ready.offset
        self.head = UpsampledHead(generator.head, offset)
        self.eval().requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        images = [x]
        for _ in self.blocks:
            # means of 2 x 2 pixels, as average pooling gives them in more time
            images.append(functional.interpolate(images[-1], scale_factor=0.5, mode="bilinear", align_corners=False))
        bodies: list[Box | None] = [None] * len(self.blocks)
        if x.device.type == "cpu" and not torch.compiler.is_compiling():  # a GPU would be waited for
            box = body_box(images[1])
            for level in range(len(bodies)):
                bodies[level], box = box, box.coarser()
        images = [image.to(self.image_dtype) for image in images[1:]]
        y = self.stem(images[-1].to(self.dtype))
        for level, block in enumerate(self.blocks):
            if level:
                y = functional.interpolate(y.to(self.dtype), scale_factor=2.0, mode="bilinear", align_corners=False)
            y = block(y, images[-1 - level], bodies[-1 - level])
        y = self.head(y, x)
        return x + y - y.abs() * x if self.residual else y
