from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import nn

from monai_nce.inferers import Runtime, packed_convolution, torch_backend
from monai_nce.inferers.torch_backend import (
    TorchBackend,
    can_use_eight_bits,
    cpu_workers,
    gains_from_eight_bits,
)
from monai_nce.networks import Generator, inference_generator
from monai_nce.networks.eight_bits import EightBitFeatures


@pytest.mark.parametrize(
    ("threads", "workers"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (7, 1), (8, 4), (9, 3), (64, 4)]
)
def test_as_many_workers_as_share_the_threads_equally(threads, workers, monkeypatch):
    assert cpu_workers(threads) == workers
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    backend = TorchBackend(nn.Conv2d(3, 3, 1), torch.device("cpu"))
    assert (backend.workers, backend.sharing, backend.threads) == (workers, workers, threads // workers)


def test_one_worker_where_there_is_no_cpu_to_share():
    assert TorchBackend(nn.Conv2d(3, 3, 1, device="meta"), torch.device("meta")).workers == 1


def test_a_network_that_cannot_rearrange_itself_runs_in_bf16_as_a_whole(stacks):
    seen = []

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dtype)
            return self.conv(x)

    ready = Runtime("torch", "bf16").prepare(Plain(), stacks)
    assert ready(stacks).dtype == torch.float32
    assert seen[-1] == torch.bfloat16


needs_eight_bits = pytest.mark.skipif(
    not packed_convolution.has_eight_bits(), reason="needs a processor with VNNI or AMX"
)


@pytest.fixture(scope="module")
def wide() -> Generator:
    """Wide enough at its finest level for 8 bits to pay."""
    torch.manual_seed(0)
    return Generator(channels=(16, 32), hidden_channels=64, num_groups=4).eval()


@pytest.fixture(scope="module")
def bodies() -> torch.Tensor:
    """Two stacks of 256 x 256 pixels, one of them with a body at an edge."""
    x = torch.full((2, 3, 256, 256), -1.0)
    x[:, :, 40:220, 30:200] = torch.rand(2, 3, 180, 170, generator=torch.Generator().manual_seed(0))
    x[1, :, 100:150] = 0.3
    return x


@needs_eight_bits
def test_a_stack_gives_the_same_whatever_it_is_computed_with(wide, bodies):
    torch.manual_seed(0)
    small = torch.full((2, 3, 256, 256), -1.0)
    small[0, :, 100:150, 100:150] = torch.rand(3, 50, 50)  # the other is air
    images = torch.cat([bodies, small])
    backend = TorchBackend(wide, torch.device("cpu"), "int8")
    together = backend(images)
    for order in ([0], [1], [2], [3], [2, 0], [3, 1, 2]):
        torch.testing.assert_close(backend(images[order]), together[order], atol=0, rtol=0)


@needs_eight_bits
def test_neither_does_it_matter_for_features_in_eight_bits(monkeypatch):
    monkeypatch.setattr(inference_generator, "LEAST_WEIGHTS", 0)
    torch.manual_seed(0)
    deep = Generator(channels=(24, 16, 16, 16, 8), hidden_channels=8, num_groups=4).eval()
    backend = TorchBackend(deep, torch.device("cpu"), "int8")
    assert any(isinstance(module, EightBitFeatures) for module in backend.network.modules())
    images = torch.rand(4, 3, 64, 96) * torch.tensor([2.0, 0.1, 1.0, 0.0])[:, None, None, None] - 1
    together = backend(images)
    for order in ([0], [1], [2], [3], [2, 0], [3, 1, 2]):
        torch.testing.assert_close(backend(images[order]), together[order], atol=0, rtol=0)


@needs_eight_bits
def test_the_first_stack_is_checked_in_eight_bits_if_any_is(wide, bodies, monkeypatch):
    shapes = []
    convolve = packed_convolution._convolved
    monkeypatch.setattr(
        packed_convolution, "_convolved", lambda x, *rest: shapes.append(tuple(x.shape)) or convolve(x, *rest)
    )
    ready = Runtime("torch", "int8").prepare(wide, bodies[:1], 8)
    assert len([shape for shape in shapes if shape[1] == 64]) == 2 + 2  # both norms of the finest level, and their air
    shapes.clear()
    ready(bodies[:1].expand(8, -1, -1, -1))
    assert len(shapes) == 2 * 8


@needs_eight_bits
@pytest.mark.parametrize("rest", ["bf16", "fp32"])
def test_eight_bits_are_used_where_they_pay_and_are_as_near_as_bf16(rest, wide, bodies, monkeypatch):
    monkeypatch.setattr(torch_backend, "best_precision", lambda device: rest)
    counted = []
    monkeypatch.setattr(
        packed_convolution.PackedEightBitConv2d,
        "forward",
        lambda self, x, forward=packed_convolution.PackedEightBitConv2d.forward: (
            counted.append(tuple(x.shape)),
            forward(self, x),
        )[1],
    )
    with torch.no_grad():
        expected = wide(bodies)
    errors = {}
    for precision in (rest, "int8"):
        backend = TorchBackend(wide, torch.device("cpu"), precision)
        errors[precision] = float((backend(bodies) - expected).square().mean().sqrt())
        assert bool(counted) is (precision == "int8")
    assert {shape[:2] for shape in counted} == {(1, 64)}
    assert errors["int8"] < (1.1 * errors["bf16"] if rest == "bf16" else 1e-3)
    assert errors["int8"] != errors[rest]


def test_eight_bits_are_for_networks_that_know_of_them_and_for_cpus(wide, monkeypatch):
    monkeypatch.setattr(torch_backend, "has_eight_bits", lambda: True)

    class Other(nn.Conv2d):
        def for_inference(self, dtype: torch.dtype) -> nn.Module:
            return self

    cpu = torch.device("cpu")
    assert can_use_eight_bits(wide, cpu)
    assert not can_use_eight_bits(wide, torch.device("cuda"))
    assert not can_use_eight_bits(nn.Conv2d(1, 1, 1), cpu) and not can_use_eight_bits(Other(1, 1, 1), cpu)
    monkeypatch.setattr(torch_backend, "has_eight_bits", lambda: False)
    assert not can_use_eight_bits(wide, cpu)


@pytest.mark.parametrize(
    ("processor", "usable", "faster"),
    [
        ({"avx512_vnni": True, "avx512_bf16": True}, True, True),
        ({"avx_vnni": True}, True, True),
        ({"avx512_vnni": True, "amx_int8": True, "amx_bf16": True}, True, False),
        ({"avx512_f": True}, False, False),
    ],
)
def test_eight_bits_are_the_choice_where_bf16_is_not_faster_still(processor, usable, faster, wide, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    monkeypatch.setattr(packed_convolution, "_convolved", lambda x, *weights: torch.tensor(4 * 9 * 127 * 255.0))
    monkeypatch.setattr(packed_convolution, "_laid_out_bytes", lambda weight, scale, shape: weight)
    cpu = torch.device("cpu")
    assert (can_use_eight_bits(wide, cpu), gains_from_eight_bits(wide, cpu)) == (usable, faster)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=needs_eight_bits)])
def test_a_backend_that_is_dropped_is_freed_at_once(precision, wide, bodies):
    backend = TorchBackend(wide, torch.device("cpu"), precision)
    backend(bodies)
    convolutions = [weakref.ref(module) for module in backend.network.modules() if not list(module.children())]
    gc.disable()  # which would find cycles sooner or later
    try:
        del backend
        assert not [found for found in (convolution() for convolution in convolutions) if found is not None]
    finally:
        gc.enable()
