from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from monai_nce.networks import Generator, air
from monai_nce.networks.air import Box, SkipAir, body_box
from monai_nce.networks.fused_conv import FusedConv2d


@pytest.fixture
def whatever_it_saves(monkeypatch):
    monkeypatch.setattr(air, "LEAST_SAVED", 1)


def test_the_box_of_a_body():
    images = torch.full((2, 3, 16, 18), -1.0)
    images[0, 1, 9, 5] = 0.0
    images[1, 2, 10, 8] = -0.999
    assert body_box(images) == Box(top=8, bottom=12, left=4, right=12)  # every fourth pixel
    assert body_box(images[:, :, :11, :10]) == Box(top=8, bottom=11, left=4, right=10)  # or the edge
    assert body_box(torch.full((1, 3, 3, 8), -1.0)) == Box(0, 3, 0, 4)  # something has to be computed


def test_boxes_by_hand():
    box, size = Box(top=3, bottom=8, left=0, right=7), torch.Size([9, 20])
    assert box.coarser() == Box(1, 4, 0, 4)
    assert box.grown(2, size) == Box(1, 9, 0, 9)
    assert box.missing(2, size) == (2, 0, 0, 1)
    whole = Box(0, 9, 0, 20)
    assert whole.less(box) == [Box(0, 3, 0, 20), Box(8, 9, 0, 20), Box(3, 8, 7, 20)]
    assert whole.less(whole) == []
    assert box.within(2, size) == Box(3, 7, 2, 7)
    assert box.within(5, size) == Box(5, 5, 5, 7) and Box(3, 8, 7, 7).within(9, size).pixels() == 0
    assert torch.zeros(2, 3, *size)[box.slices].shape == (2, 3, 5, 7) and box.pixels() == 35


@given(height=st.integers(2, 40), width=st.integers(2, 40), seed=st.integers(0, 1000))
def test_a_coarser_box_holds_the_body_of_a_coarser_image(height, width, seed):
    random = torch.Generator().manual_seed(seed)
    images = torch.full((1, 1, 2 * height, 2 * width), -1.0)
    images[0, 0][torch.rand(2 * height, 2 * width, generator=random) < 2 / (height * width)] = 0.5
    box, coarse = body_box(images).coarser(), nn.functional.avg_pool2d(images, 2)
    coarse[:, :, box.top : box.bottom, box.left : box.right] = -1
    assert (coarse == -1).all()


def layers_and_guide(size: tuple[int, int], body: tuple[int, int, int, int], seed: int):
    """Two convolutions, a pixel of air as they get it, and images of air around something."""
    random = torch.Generator().manual_seed(seed)
    layers = []
    for channels in ((3, 4), (4, 2)):
        weight, bias = torch.empty(channels[1], channels[0], 3, 3), torch.empty(channels[1])
        layers.append(FusedConv2d(weight, bias, torch.float64))
        for parameter in layers[-1].parameters():
            parameter.data = torch.rand(parameter.shape, generator=random, dtype=torch.float64) - 0.5
    pixel = torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)  # the last one is one of ones
    guide = pixel[None, :, None, None].repeat(2, 1, *size)
    top, bottom, left, right = body
    guide[:, :2, top:bottom, left:right] = torch.rand(
        2, 2, bottom - top, right - left, generator=random, dtype=torch.float64
    )
    return layers, pixel, guide


@st.composite
def bodies(draw):
    size = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    ends = [sorted(draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in size]
    return size, (*ends[0], *ends[1])


@given(drawn=bodies(), seed=st.integers(0, 1000))
def test_nothing_changes_wherever_the_body_lies(drawn, seed):
    size, body = drawn
    layers, pixel, guide = layers_and_guide(size, body, seed)
    skipping = SkipAir(*layers, air=pixel)
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(air, "LEAST_SAVED", 1)
        expected = nn.Sequential(*layers)(guide)
        ((everywhere, got),) = skipping(guide)
        assert got.shape == expected[everywhere].shape == expected.shape
        torch.testing.assert_close(got, expected, atol=0, rtol=0)
        found = body_box(guide[:, :2])
        for _ in range(2):  # the second time air is known
            torch.testing.assert_close(together(skipping(guide, found), expected), expected, atol=1e-13, rtol=0)


def together(parts, like: torch.Tensor) -> torch.Tensor:
    whole = torch.full_like(like, torch.nan)
    for where, part in parts:
        assert whole[where].isnan().all()  # no pixel comes twice
        whole[where] = part
    return whole


class Inside(nn.Module):
    """All layers at once, away from the edges; and how often for what."""

    def __init__(self, layers) -> None:
        super().__init__()
        self.layers, self.sizes = layers, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(tuple(x.shape))
        x = x.double()
        for layer in self.layers:
            x = layer(x, padded=False)
        return x


@given(drawn=bodies(), seed=st.integers(0, 1000))
def test_what_is_computed_at_once_inside_and_what_along_the_edges_fit_together(drawn, seed):
    size, body = drawn
    assume(min(size) > 4)  # there is an inside
    layers, pixel, guide = layers_and_guide(size, body, seed)
    skipping = SkipAir(*layers, air=pixel, inside=Inside(layers))
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(air, "LEAST_SAVED", 1)
        patch.setattr(air, "LEAST_SAVED_INSIDE", -1e9)  # whatever it costs
        expected = nn.Sequential(*layers)(guide)
        got = together(skipping(guide, body_box(guide[:, :2])), expected)
        torch.testing.assert_close(got, expected, atol=1e-13, rtol=0)
        assert skipping.inside.sizes


def test_inside_is_used_image_by_image_for_sizes_where_it_pays(monkeypatch):
    layers, pixel, guide = layers_and_guide((40, 48), (10, 20, 8, 20), 0)
    skipping = SkipAir(*layers, air=pixel, inside=Inside(layers).double())
    sizes = skipping.inside.sizes
    with torch.no_grad():
        list(skipping(guide, Box(10, 20, 8, 20)))
        assert sizes == []  # all of it is little
        monkeypatch.setattr(air, "LEAST_SAVED", 1)
        monkeypatch.setattr(air, "LEAST_SAVED_INSIDE", 1)
        list(skipping(guide, Box(10, 20, 8, 20)))
        # two pixels to each side see the body, two more are seen; then air, once for a size
        assert sizes == [(1, 3, 18, 20), (1, 3, 18, 20), (1, 3, 40, 48)]
        list(skipping(guide, Box(10, 20, 0, 20)))
        assert sizes[3:] == [(1, 3, 18, 24)] * 2, "at one edge"
        monkeypatch.setattr(air, "LEAST_SAVED_INSIDE", 8 * 8 / 4 * 180 + 1)
        list(skipping(guide[:, :, :12, :12], Box(0, 12, 0, 12)))
        assert len(sizes) == 5, "of 12 by 12 pixels 8 by 8 are inside"
        list(skipping(guide))
        assert len(sizes) == 5, "a network that is exported or on a GPU"


def test_less_is_computed_and_air_once_for_a_size(whatever_it_saves):
    layers, pixel, guide = layers_and_guide((40, 48), (10, 20, 0, 20), 0)
    skipping = SkipAir(*layers, air=pixel)
    sizes = []
    layers[1].register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape)))
    with torch.no_grad():
        for _ in range(2):
            list(skipping(guide, Box(10, 20, 0, 20)))
        # three pixels more to each side that is no edge, and a zero beyond one that is
        assert sizes == [(2, 4, 16, 24), (1, 4, 40, 48), (2, 4, 16, 24)]
        list(skipping(guide[:, :, :32], Box(10, 20, 0, 20)))
        assert sizes[3:] == [(2, 4, 16, 24), (1, 4, 32, 48)]
        list(skipping(guide, Box(0, 40, 0, 46)))
        assert sizes[5:] == [(2, 4, 40, 48)]  # all of it is near


@pytest.mark.parametrize(("images", "skips"), [(5, False), (6, True)])
def test_what_saves_little_is_computed(images, skips, monkeypatch):
    layers, pixel, guide = layers_and_guide((40, 48), (10, 20, 0, 20), 0)
    # 40 x 48 pixels less 14 x 22, and 180 multiplications for each
    monkeypatch.setattr(air, "LEAST_SAVED", (40 * 48 - 14 * 22) * 180 * 6)
    skipping = SkipAir(*layers, air=pixel)
    sizes = []
    layers[0].register_forward_pre_hook(lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:])))
    with torch.no_grad():
        list(skipping(guide[:1].expand(images, -1, -1, -1), Box(10, 20, 0, 20)))
    assert sizes[0] == ((18, 25) if skips else (40, 48))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_inference_leaves_out_air(dtype, whatever_it_saves):
    torch.manual_seed(0)
    network = Generator(channels=(8, 4), hidden_channels=4)
    x = torch.full((2, 3, 96, 128), -1.0)
    x[:, :, 30:60, 40:70] = torch.rand(2, 3, 30, 30)
    ready = network.for_inference(dtype)
    sizes = []
    ready.blocks[-1].spade_1.gamma_beta.layers[1].register_forward_pre_hook(
        lambda module, inputs: sizes.append(tuple(inputs[0].shape[2:]))
    )
    with torch.inference_mode():
        got = ready(x)
        assert sizes == [(20 + 6, 16 + 6), (48, 64)]  # the body's rows 15 to 30 and columns 20 to 35, in fours
        x[:, :, 0, 0] = x[:, :, -1, -1] = 1.0
        ready(x)
        assert sizes[2:] == [(48, 64)]
        x[:, :, 0, 0] = x[:, :, -1, -1] = -1.0
        torch.testing.assert_close(got, network(x), atol=2e-5 if dtype == torch.float32 else 0.02, rtol=0)
