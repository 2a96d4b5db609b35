from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from torch import nn

from monai_nce.contrast import append_condition
from monai_nce.networks import Generator


@pytest.fixture
def paper() -> Generator:
    """The paper's generator without memory behind its weights: shapes and counts only."""
    with torch.device("meta"):
        return Generator()


def small(**kwargs) -> Generator:
    torch.manual_seed(0)
    return Generator(**{"channels": (8, 6, 4), "hidden_channels": 4, "num_groups": 2, **kwargs})


def perturb_head(net: Generator, std: float) -> None:
    """Take the residual generator off the identity; with a large ``std`` the tanh saturates."""
    torch.manual_seed(3)
    nn.init.normal_(net.head.weight, std=std)


def test_channel_plan_of_the_paper(paper):
    assert [block.conv_1.in_channels for block in paper.blocks] == [512, 515, 515, 259, 131, 67]
    assert [block.conv_2.out_channels for block in paper.blocks] == [512, 512, 256, 128, 64, 32]
    assert (paper.head.in_channels, paper.head.out_channels) == (35, 3)
    assert paper.size_factor == 64


def test_parameter_count_of_the_paper(paper):
    def conv(c_in: int, c_out: int, side: int = 3, bias: bool = True) -> int:
        return c_in * c_out * side**2 + bias * c_out

    expected = conv(3, 512) + conv(35, 3)
    for c_in, c_out in zip((512, 515, 515, 259, 131, 67), (512, 512, 256, 128, 64, 32), strict=True):
        spade = conv(3, 128) + conv(128, 2 * c_out)
        expected += conv(c_in, c_out, bias=False) + conv(c_out, c_out, bias=False) + 2 * spade
        expected += conv(c_in, c_out, side=1) if c_in != c_out else 0
    assert sum(p.numel() for p in paper.parameters()) == expected


def test_leaky_slope_and_group_norms_of_the_paper(paper):
    assert {m.negative_slope for m in paper.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    norms = [m for m in paper.modules() if isinstance(m, nn.GroupNorm)]
    assert [m.num_groups for m in norms] == [32] * 12  # two per block, on its output channels


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (320, 192), (512, 64)])
@pytest.mark.parametrize("batch", [1, 4])
def test_shapes_of_the_paper(paper, size, batch):
    x = torch.empty(batch, 3, *size, device="meta")
    assert paper(x).shape == x.shape


@pytest.mark.parametrize("slices", [1, 3, 5])
@pytest.mark.parametrize("size", [(16, 16), (8, 24), (40, 16)])
def test_shapes_with_values(slices, size):
    y = small(slices=slices)(torch.rand(2, slices, *size))
    assert y.shape == (2, slices, *size)
    assert torch.isfinite(y).all()


@pytest.mark.parametrize(("size", "fits"), [((17, 16), (24, 16)), ((16, 9), (16, 16)), ((7, 1), (8, 8))])
def test_a_size_that_does_not_fit(size, fits):
    message = f"divisible by 8 but got {size[0]} x {size[1]}; {fits[0]} x {fits[1]} would fit"
    with pytest.raises(ValueError, match=re.escape(message)):
        small()(torch.rand(1, 3, *size))


def test_each_block_sees_the_area_reduced_input_and_gets_it_concatenated():
    net = small()
    blocks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, args, out: blocks.append((*(a.numpy() for a in args), out.numpy())))
    stems: list[np.ndarray] = []
    heads: list[np.ndarray] = []
    net.stem.register_forward_hook(lambda _, args, out: stems.extend([args[0].numpy(), out.numpy()]))
    net.head.register_forward_hook(lambda _, args, out: heads.append(args[0].numpy()))
    x = torch.rand(2, 3, 32, 16)
    with torch.no_grad():
        net(x)

    def area(factor: int) -> np.ndarray:
        return x.numpy().reshape(2, 3, 32 // factor, factor, 16 // factor, factor).mean((3, 5))

    def doubled(a: np.ndarray, axis: int) -> np.ndarray:
        """Bilinear x2, corners not aligned: a quarter of the neighbour, three quarters of the pixel itself."""
        a = np.moveaxis(a, axis, 0)
        before, after = np.concatenate([a[:1], a[:-1]]), np.concatenate([a[1:], a[-1:]])
        return np.moveaxis(
            np.stack([0.25 * before + 0.75 * a, 0.75 * a + 0.25 * after], 1).reshape(-1, *a.shape[1:]), 0, axis
        )

    np.testing.assert_allclose(stems[0], area(8), atol=1e-6)
    np.testing.assert_array_equal(blocks[0][0], stems[1])
    following = [block[0] for block in blocks[1:]] + heads
    for factor, (_, guide, out), then in zip((8, 4, 2), blocks, following, strict=True):
        np.testing.assert_allclose(guide, area(factor), atol=1e-6)
        np.testing.assert_allclose(then[:, :-3], doubled(doubled(out, 2), 3), atol=1e-5)
        np.testing.assert_allclose(then[:, -3:], area(factor // 2), atol=1e-6)


def test_without_residual_the_output_lies_between_minus_one_and_one():
    net = small()
    perturb_head(net, std=3.0)
    y = net(torch.rand(2, 3, 16, 16) * 2 - 1)
    assert y.abs().max() <= 1
    assert y.abs().max() > 0.9  # the bound was tried


def test_residual_starts_as_exactly_the_identity():
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    assert torch.equal(small(residual=True)(x), x)
    assert not torch.equal(small(residual=False)(x), x)


def test_residual_stays_between_minus_one_and_one():
    net = small(residual=True)
    perturb_head(net, std=3.0)
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    x[..., :4, :], x[..., 4:8, :] = -1, 1
    y = net(x)
    assert y.abs().max() <= 1 + 1e-6
    assert (y - x).abs().max() > 1.5  # the change may span the whole range: it is bounded by 2


def test_residual_goes_a_share_of_the_way_to_the_end_of_the_range():
    plain, residual = small(), small(residual=True)
    perturb_head(plain, std=0.2)
    residual.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        t, y, a = plain(x).double().numpy(), residual(x), x.double().numpy()
    assert t.min() < -0.1 and t.max() > 0.1
    np.testing.assert_allclose(y, np.where(t > 0, a + t * (1 - a), a + t * (1 + a)), atol=1e-6)


def test_gradient_reaches_every_parameter():
    net = small()
    net(torch.rand(2, 3, 32, 32)).square().sum().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not without


def test_residual_learns_from_its_first_step():
    net = small(residual=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    x, target = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (net(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > losses[1] > losses[2]  # at t = 0, where it starts, there is a gradient
    # after the first step the head lets the gradient through to everything before it
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_an_image_does_not_depend_on_the_rest_of_its_batch(training):
    net = small().train(training)
    x = torch.rand(3, 3, 16, 16)
    others = x.clone()
    others[1:] = 5 * torch.rand(2, 3, 16, 16) - 2
    with torch.no_grad():
        alone, among, among_others = net(x[:1]), net(x)[:1], net(others)[:1]
    torch.testing.assert_close(alone, among, atol=1e-5, rtol=0)
    torch.testing.assert_close(among, among_others, atol=1e-5, rtol=0)


def test_training_and_evaluation_agree():
    net, x = small(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(net.train()(x), net.eval()(x))
    assert not list(net.buffers())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"channels": ()}, r"channels=\(\)"),
        ({"channels": (8, 0)}, r"channels=\(8, 0\)"),
        ({"slices": 0}, "slices=0"),
        ({"hidden_channels": -1}, "hidden_channels=-1"),
        ({"num_groups": 0}, "0"),
        ({"condition_channels": -1}, "condition_channels of at least 0 but got -1"),
    ],
)
def test_invalid_arguments(wrong, named):
    with pytest.raises(ValueError, match=named):
        Generator(**{"channels": (8, 4), **wrong})


def told(x: torch.Tensor, *condition: float) -> torch.Tensor:
    return append_condition(x, torch.tensor([condition]))


def test_without_a_condition_the_weights_are_those_of_the_paper_s_network():
    convolutions = {"stem": (8, 3), "head": (3, 7)}
    for b, (c_in, c_out) in enumerate(((8, 8), (11, 6), (9, 4))):
        convolutions |= {f"blocks.{b}.conv_1": (c_out, c_in), f"blocks.{b}.conv_2": (c_out, c_out)}
        for spade in (f"blocks.{b}.spade_{n}" for n in (1, 2)):
            convolutions |= {f"{spade}.hidden.0": (4, 3), f"{spade}.gamma_beta": (2 * c_out, 4)}
        convolutions |= {f"blocks.{b}.shortcut": (c_out, c_in)} if c_in != c_out else {}
    for net in (small(), small(condition_channels=0)):
        weights = {name: tuple(value.shape) for name, value in net.state_dict().items() if name.endswith("weight")}
        assert {name.removesuffix(".weight"): shape[:2] for name, shape in weights.items()} == convolutions
        with_bias = {name for name in convolutions if not name.endswith(("conv_1", "conv_2"))}
        assert set(net.state_dict()) == {*weights, *(f"{name}.bias" for name in with_bias)}


def test_a_condition_reaches_spade_alone():
    plain, net = small().state_dict(), small(condition_channels=2).state_dict()
    wider = {name for name in plain if plain[name].shape != net[name].shape}
    assert wider == {f"blocks.{b}.spade_{n}.hidden.0.weight" for b in range(3) for n in (1, 2)}
    assert all(net[name].shape[1] == 5 for name in wider)


def test_a_condition_of_zeros_is_none():
    for residual in (False, True):
        net = small(condition_channels=2, residual=residual)
        perturb_head(net, std=0.2)
        x = torch.rand(2, 3, 16, 24) * 2 - 1
        with torch.no_grad():
            assert torch.equal(net(x), net(told(x, 0, 0)))
            assert not torch.equal(net(x), net(told(x, 0, 1)))
            assert net(told(x, 1, 1)).shape == x.shape


def test_the_weights_that_take_no_condition_are_those_of_a_network_without():
    plain, net = small(residual=True), small(residual=True, condition_channels=2)
    perturb_head(plain, std=0.2)
    widened = net.state_dict()
    for name, value in plain.state_dict().items():
        widened[name] = torch.cat([value, widened[name][:, value.shape[1] :]], 1) if value.ndim == 4 else value
    net.load_state_dict(widened)
    x = torch.rand(2, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain(x))


def test_gradient_reaches_the_condition_s_weights():
    net = small(condition_channels=2)
    net(told(torch.rand(2, 3, 32, 32), 0.5, -1.0)).square().sum().backward()
    for name, parameter in net.named_parameters():
        if name.endswith("hidden.0.weight"):
            assert (parameter.grad[:, 3:].abs().amax((0, 2, 3)) > 0).all(), name


def test_a_level_is_learnt():
    """What is brighter than -1 rises by a tenth of the level: only the condition tells by how much."""
    torch.manual_seed(1)
    net = small(residual=True, condition_channels=2, hidden_channels=8)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:12, 4:12] = 1
    x = (mask * 0.9 - 1).expand(4, 3, -1, -1)
    for _ in range(150):
        level = torch.rand(4) * 2 - 1
        known = (torch.rand(4) < 0.8).float()
        y = net(append_condition(x, torch.stack([known, level * known], 1)))
        loss = (y - x - 0.1 * (2 + level)[:, None, None, None] * mask).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inside = mask.bool().expand_as(x[:1])
    with torch.no_grad():
        low, high, unknown = (
            float((net(given) - x[:1])[inside].mean()) for given in (told(x[:1], 1, -0.8), told(x[:1], 1, 0.8), x[:1])
        )
    assert high - low > 0.08 and low < unknown < high  # 0.16 would be perfect


@pytest.mark.parametrize(("residual", "condition_channels"), [(False, 0), (True, 0), (True, 2)])
def test_torchscript(residual, condition_channels, tmp_path):
    net = small(residual=residual, condition_channels=condition_channels).eval()
    perturb_head(net, std=0.2)
    torch.jit.script(net).save(tmp_path / "net.ts")
    scripted = torch.jit.load(tmp_path / "net.ts")
    for size, channels in itertools.product(((16, 16), (32, 24)), {3, 3 + condition_channels}):
        x = torch.rand(2, channels, *size)
        with torch.no_grad():
            torch.testing.assert_close(scripted(x), net(x))
    with pytest.raises(Exception, match="divisible by 8 but got 17 x 16"):
        scripted(torch.rand(1, 3, 17, 16))


def test_export_with_any_size_that_fits():
    net = small().eval()
    h, w = torch.export.Dim("h", min=2, max=64), torch.export.Dim("w", min=2, max=64)
    exported = torch.export.export(net, (torch.rand(2, 3, 16, 24),), dynamic_shapes=({2: 8 * h, 3: 8 * w},)).module()
    for size in ((16, 24), (40, 16)):
        x = torch.rand(2, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(exported(x), net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("residual", "condition_channels"), [(True, 2), pytest.param(False, 0, marks=pytest.mark.slow)]
)
def test_onnx_with_any_batch(residual, condition_channels, tmp_path):
    openvino = pytest.importorskip("openvino")
    net = small(residual=residual, channels=(8, 4), condition_channels=condition_channels).eval()
    perturb_head(net, std=0.2)
    path = str(tmp_path / "net.onnx")
    torch.onnx.export(
        net,
        (torch.rand(2, 3 + condition_channels, 16, 12),),
        path,
        input_names=["image"],
        output_names=["pred"],
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
    )
    session = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (1, 5):
        x = torch.rand(batch, 3 + condition_channels, 16, 12) * 2 - 1
        with torch.no_grad():
            np.testing.assert_allclose(session({"image": x.numpy()})["pred"], net(x), atol=1e-4)
