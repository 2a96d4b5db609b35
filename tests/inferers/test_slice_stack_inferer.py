from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import nn

from monai_nce.errors import InputError
from monai_nce.inferers import Runtime, SliceStackInferer
from monai_nce.inferers.slice_stack_inferer import even_batches, run_batches
from monai_nce.networks import Generator

AFFINE = torch.tensor([[-0.7, 0, 0, 10], [0, 0.8, 0.1, -20], [0, 0, 5, 30], [0, 0, 0, 1]], dtype=torch.float64)


class Probe(nn.Module):
    """Gives back what it gets and keeps it."""

    def __init__(self, size_factor: int | None = None) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        if size_factor is not None:
            self.size_factor = size_factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x.clone())
        return x


class Wrapped(nn.Module):
    """As DataParallel and DistributedDataParallel wrap."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)


def mark_position(x: torch.Tensor) -> torch.Tensor:
    """1, 10 and 100 for the first, the middle and the last slice of a stack."""
    return torch.tensor([1.0, 10.0, 100.0])[None, :, None, None].expand_as(x)


def volumes(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (3, 31), (1, 1)])
@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("divisor", [1, 8, 64])
def test_the_identity_gives_the_volume_back(size, depth, divisor):
    x = volumes(2, 1, *size, depth)
    y = SliceStackInferer(size_divisor=divisor)(x, nn.Identity())
    assert y.shape == x.shape
    torch.testing.assert_close(y, x, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, [111 / 3]),
        (2, [(1 + 10 + 1) / 3, (100 + 10 + 100) / 3]),
        # slice 0: first and middle of stack 0 (its replica and itself), first of stack 1
        (4, [(1 + 10 + 1) / 3, 111 / 3, 111 / 3, (100 + 10 + 100) / 3]),
    ],
)
def test_overlapping_predictions_are_averaged(depth, expected):
    y = SliceStackInferer(batch_size=2)(torch.zeros(1, 1, 3, 2, depth), mark_position)
    np.testing.assert_allclose(y[0, 0], np.broadcast_to(expected, (3, 2, depth)), rtol=1e-6)


def test_the_stacks_that_the_network_gets():
    x = torch.tensor([1.0, 2.0, 4.0]).expand(1, 1, 2, 2, 3)
    probe = Probe()
    SliceStackInferer()(x, probe)
    (stacks,) = probe.seen
    assert stacks.shape == (3, 3, 2, 2)
    assert stacks[:, :, 0, 0].tolist() == [[1, 1, 2], [1, 2, 4], [2, 4, 4]]


def test_a_network_that_sees_its_neighbours():
    """The prediction is the stack's mean, in each of its slices."""
    x = volumes(1, 1, 4, 4, 5)
    y = SliceStackInferer()(x, lambda s: s.mean(1, keepdim=True).expand_as(s))
    a = np.pad(x[0, 0].numpy(), ((0, 0), (0, 0), (1, 1)), mode="edge")
    means = np.stack([a[..., z : z + 3].mean(-1) for z in range(5)], -1)
    expected = np.stack(
        [(2 * means[..., 0] + means[..., 1]) / 3]
        + [means[..., z - 1 : z + 2].mean(-1) for z in (1, 2, 3)]
        + [(2 * means[..., 4] + means[..., 3]) / 3],
        -1,
    )
    np.testing.assert_allclose(y[0, 0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(1, [1] * 7), (2, [2, 2, 2, 1]), (3, [3, 2, 2]), (7, [7]), (99, [7])]
)
def test_the_batch_size_changes_nothing_but_the_batches(batch_size, batches):
    x = volumes(1, 1, 6, 5, 7)
    probe = Probe()

    def network(stacks: torch.Tensor) -> torch.Tensor:
        return probe(stacks) * 0.5 + mark_position(stacks)

    y = SliceStackInferer(batch_size=batch_size)(x, network)
    assert [len(batch) for batch in probe.seen] == batches
    torch.testing.assert_close(y, SliceStackInferer()(x, network), atol=1e-6, rtol=1e-6)


@given(count=st.integers(1, 200), most=st.integers(1, 20), workers=st.integers(1, 5))
def test_workers_share_the_batches_equally(count, most, workers):
    batches = even_batches(range(count), most, workers)
    assert [i for batch in batches for i in batch] == list(range(count))
    sizes = [len(batch) for batch in batches]
    assert min(sizes) >= 1 and max(sizes) <= min(most, min(sizes) + 1)
    assert len(batches) % workers == 0 or sizes == [1] * count
    assert len(batches) - workers < -(-count // most)  # no more than needed for that


class Sharing:
    """A runtime, and the backend that it gives: two workers, of which so many share the batches."""

    workers, threads = 2, 1

    def __init__(self, sharing: int) -> None:
        self.sharing = sharing
        self.sizes: list[int] = []

    def prepare(self, network: object, stacks: torch.Tensor, batch_size: int, total: int) -> Sharing:
        return self

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(stacks))
        return stacks


@pytest.mark.parametrize(("sharing", "sizes"), [(1, [6, 7, 7]), (2, [5, 5, 5, 5])])
def test_batches_are_shared_by_as_many_workers_as_the_backend_says(sharing, sizes):
    runtime, x = Sharing(sharing), volumes(1, 1, 6, 5, 20)
    y = SliceStackInferer(batch_size=8, runtime=runtime)(x, nn.Identity())  # type: ignore[arg-type]
    assert sorted(runtime.sizes) == sizes
    torch.testing.assert_close(y, SliceStackInferer()(x, nn.Identity()), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_with_a_generator(batch_size):
    torch.manual_seed(0)
    net = Generator(channels=(6, 4), hidden_channels=4).eval()
    x = volumes(1, 1, 14, 9, 4)  # 14 is no multiple of 4, nor is 9
    with torch.no_grad():
        y = SliceStackInferer(batch_size=batch_size)(x, net)
        padded = nn.functional.pad(x[0, 0].permute(2, 0, 1), (1, 2, 1, 1), value=-1.0)
        predictions = [net(padded[[max(z - 1, 0), z, min(z + 1, 3)]][None])[0, :, 1:-1, 1:-2] for z in range(4)]
    expected = torch.zeros(14, 9, 4)
    for z, prediction in enumerate(predictions):
        for offset in (-1, 0, 1):
            expected[..., min(max(z + offset, 0), 3)] += prediction[offset + 1] / 3
    torch.testing.assert_close(y[0, 0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [-1.0, 0.25])
def test_the_padding_value_is_what_the_network_sees(value):
    x = torch.full((1, 1, 5, 6, 3), 0.75)
    probe = Probe()
    y = SliceStackInferer(size_divisor=8, padding_value=value)(x, probe)
    (stacks,) = probe.seen
    assert stacks.shape == (3, 3, 8, 8)
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[1:6, 1:7] = True  # 3 rows more: 1 before, 2 after; 2 columns more: 1 on either side
    assert (stacks[..., inside] == 0.75).all()
    assert (stacks[..., ~inside] == value).all()
    torch.testing.assert_close(y, x)


def test_air_is_the_default_padding():
    probe = Probe()
    SliceStackInferer(size_divisor=4)(torch.ones(1, 1, 1, 1, 1), probe)
    assert probe.seen[0].unique().tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("network", "divisor", "size"),
    [
        (Probe, None, (10, 13)),
        (lambda: Probe(8), None, (16, 16)),
        (lambda: Wrapped(Probe(8)), None, (16, 16)),
        (lambda: Probe(8), 4, (12, 16)),
        (lambda: Probe(8), 1, (10, 13)),
    ],
)
def test_the_divisor_comes_from_the_network_unless_given(network, divisor, size):
    network = network()
    y = SliceStackInferer(size_divisor=divisor)(volumes(1, 1, 10, 13, 2), network)
    probe = network.module if isinstance(network, Wrapped) else network
    assert probe.seen[0].shape[2:] == size
    assert y.shape == (1, 1, 10, 13, 2)


def test_the_divisor_of_a_scripted_network():
    net = torch.jit.script(Generator(channels=(6, 4), hidden_channels=4, residual=True))
    x = volumes(1, 1, 10, 13, 2)
    with torch.no_grad():
        torch.testing.assert_close(SliceStackInferer()(x, net), x, atol=1e-6, rtol=0)


def test_volumes_of_a_batch_do_not_mix():
    x = volumes(3, 1, 4, 4, 3)
    y = SliceStackInferer()(x, lambda s: s - s.mean())
    alone = torch.cat([SliceStackInferer()(v[None], lambda s: s - s.mean()) for v in x])
    torch.testing.assert_close(y, alone, atol=1e-6, rtol=0)


def test_a_metatensor_comes_back_as_one():
    x = MetaTensor(volumes(1, 1, 5, 6, 3), affine=AFFINE, meta={"filename_or_obj": "scan.nii.gz"})
    seen = []

    def network(stacks: torch.Tensor) -> torch.Tensor:
        seen.append(type(stacks))
        return 2 * stacks

    y = SliceStackInferer()(x, network)
    assert isinstance(y, MetaTensor)
    assert torch.equal(y.affine, AFFINE)
    assert y.meta["filename_or_obj"] == "scan.nii.gz"
    torch.testing.assert_close(y.as_tensor(), 2 * x.as_tensor())
    assert seen == [torch.Tensor]  # no bookkeeping inside the network
    assert type(SliceStackInferer()(x.as_tensor(), network)) is torch.Tensor


def test_the_volume_is_left_as_it_was():
    x = volumes(1, 1, 5, 6, 3)
    before = x.clone()
    SliceStackInferer(size_divisor=8)(x, lambda s: s.mul_(0))
    assert torch.equal(x, before)


def test_low_precision_is_averaged_in_full():
    """As under automatic mixed precision."""
    y = SliceStackInferer()(volumes(1, 1, 4, 4, 5), lambda s: mark_position(s).half())
    assert y.dtype == torch.float32
    assert y[0, 0, 0, 0, 0].item() == 4


def test_arguments_for_the_network_are_passed_on():
    y = SliceStackInferer()(torch.ones(1, 1, 4, 4, 2), lambda s, a, *, b: s * a + b, 3.0, b=0.5)
    torch.testing.assert_close(y, torch.full((1, 1, 4, 4, 2), 3.5))


@pytest.mark.parametrize("slices", [1, 5])
def test_other_numbers_of_slices(slices):
    x, probe = volumes(1, 1, 4, 4, 4), Probe()
    torch.testing.assert_close(SliceStackInferer(slices=slices)(x, probe), x, atol=1e-6, rtol=1e-6)
    assert probe.seen[0].shape[1] == slices


@pytest.mark.parametrize("shape", [(1, 4, 4, 3), (1, 2, 4, 4, 3), (4, 4, 3)])
def test_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"\(B, 1, H, W, D\) but got \(" + ", ".join(map(str, shape))):
        SliceStackInferer()(torch.zeros(shape), nn.Identity())


@pytest.mark.parametrize("batch_size", [0, -2])
def test_a_batch_size_below_one(batch_size):
    with pytest.raises(ValueError, match=f"batch_size of at least 1 but got {batch_size}"):
        SliceStackInferer(batch_size=batch_size)


@pytest.mark.parametrize("divisor", [0, -8])
def test_a_divisor_below_one(divisor):
    with pytest.raises(ValueError, match=f"size_divisor of at least 1 but got {divisor}"):
        SliceStackInferer(size_divisor=divisor)


@pytest.mark.parametrize("slices", [2, 0])
def test_an_even_number_of_slices(slices):
    with pytest.raises(ValueError, match="odd number of slices"):
        SliceStackInferer(slices=slices)(torch.zeros(1, 1, 4, 4, 3), nn.Identity())


@pytest.mark.parametrize("progress", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_bar_shows_only_when_asked_for_and_never_in_a_file(progress, terminal, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    SliceStackInferer(progress=progress, batch_size=1)(torch.zeros(1, 1, 4, 4, 3), nn.Identity())
    shown = capsys.readouterr().err
    assert ("slices" in shown) == (progress and terminal)
    assert shown.endswith("\r") or not shown, "the next message would stand on the bar's line"


def test_a_stride_of_three_predicts_each_slice_once():
    x, probe = volumes(1, 1, 4, 4, 9), Probe()
    y = SliceStackInferer(stride=3)(x, probe)
    (stacks,) = probe.seen
    assert torch.equal(stacks, x[0, 0].permute(2, 0, 1).reshape(3, 3, 4, 4))
    assert torch.equal(y, x)
    marked = SliceStackInferer(stride=3, blend=False)(x, mark_position)
    assert marked[0, 0, 0, 0].tolist() == [1, 10, 100] * 3


def test_what_two_stacks_predict_at_the_end_is_averaged():
    marked = SliceStackInferer(stride=3, blend=False)(volumes(1, 1, 4, 4, 7), mark_position)
    # centres 1, 4 and 5: slices 4 and 5 are the middle and the last of one stack, the first and the middle of another
    assert marked[0, 0, 0, 0].tolist() == [1, 10, 100, 1, 5.5, 55, 100]


@given(
    slices=st.sampled_from([1, 3, 5]),
    depth=st.integers(1, 16),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_identical_slices_come_out_identical_whatever_the_stride(slices, depth, batch_size, seed, data):
    """By a network that predicts each position in a stack in its own way, from all of the stack."""
    stride = data.draw(st.integers(1, slices))
    generator = torch.Generator().manual_seed(seed)
    weights, shift = torch.randn(slices, slices, generator=generator), torch.randn(slices, generator=generator)
    x = volumes(2, 1, 4, 3, 1).expand(-1, -1, -1, -1, depth)

    def network(stacks: torch.Tensor) -> torch.Tensor:
        return torch.einsum("os,bshw->bohw", weights, stacks) + shift[:, None, None]

    y = SliceStackInferer(slices, batch_size, stride)(x, network)
    edge = slices // 2 if stride == 1 else 0  # there copies of an edge slice count as predictions of it
    inner = y[..., edge : depth - edge]
    mean = network(x[0, ..., :1].expand(1, 4, 3, slices).permute(0, 3, 1, 2)).mean(1)
    torch.testing.assert_close(inner[0], mean[..., None].expand_as(inner[0]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stride", [0, 4])
def test_a_stride_that_leaves_slices_out(stride):
    with pytest.raises(InputError, match=rf"stride in 1\.\.\.3, the slices of a stack, but got {stride}"):
        SliceStackInferer(stride=stride)


def test_workers_have_the_threads_that_the_backend_asks_for():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        seen = list(run_batches(lambda batch: torch.tensor(torch.get_num_threads()), range(6), workers=2, threads=2))
        assert seen == [2] * 6
        assert torch.get_num_threads() == 4
        running = run_batches(lambda batch: torch.zeros(1), range(6), workers=2)
        next(running)
        assert torch.get_num_threads() == 1, "the caller's threads would spin beside the workers"
        running.close()
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


class Told(Probe):
    """Takes stacks with a condition of two numbers; adds the second to the slices."""

    condition_channels = 2
    size_factor = 8

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        super().forward(x)
        return x[:, :3] + x[:, 4:]


def test_a_condition_is_told_to_each_stack_and_not_padded():
    x, network = volumes(2, 1, 5, 6, 4), Told()
    condition = torch.tensor([0.25, 0.5])
    y = SliceStackInferer(condition=condition)(x, network)
    torch.testing.assert_close(y, x + 0.5)
    assert all(stacks.shape[1:] == (5, 8, 8) for stacks in network.seen)
    for stacks in network.seen:
        assert (stacks[:, 3] == 0.25).all() and (stacks[:, 4] == 0.5).all()


def test_each_volume_has_a_condition_of_its_own_when_called():
    x = volumes(2, 1, 8, 8, 4)
    given = torch.tensor([[0.0, 0.5], [0.0, -0.25]])
    y = SliceStackInferer(condition=torch.ones(2))(x, Wrapped(Told()), condition=given)
    torch.testing.assert_close(y, x + given[:, 1].view(2, 1, 1, 1, 1))


def test_nothing_known_is_zeros():
    x, network = volumes(1, 1, 8, 8, 4), Told()
    torch.testing.assert_close(SliceStackInferer()(x, network), x)
    assert all(stacks.shape[1] == 5 and not stacks[:, 3:].any() for stacks in network.seen)


@pytest.mark.parametrize(("network", "channels"), [(Told(), 3), (Probe(), 2), (mark_position, 2)])
def test_a_condition_that_the_network_does_not_take_is_refused(network, channels):
    takes = getattr(network, "condition_channels", 0)
    with pytest.raises(
        InputError, match=f"expected a condition of {takes} numbers for this network but got {channels}"
    ):
        SliceStackInferer()(volumes(1, 1, 8, 8, 2), network, condition=torch.zeros(1, channels))


def test_a_backend_computes_with_the_condition():
    torch.manual_seed(0)
    network = Generator(channels=(8, 4), hidden_channels=4, num_groups=2, condition_channels=2)
    x, condition = volumes(1, 1, 16, 24, 5), torch.tensor([1.0, -0.5])
    with torch.inference_mode():
        expected = SliceStackInferer(condition=condition)(x, network)
        got = SliceStackInferer(condition=condition, runtime=Runtime("torch", "fp32"))(x, network)
        other = SliceStackInferer(runtime=Runtime("torch", "fp32"))(x, network)
    torch.testing.assert_close(got, expected)
    assert not torch.allclose(other, expected)
