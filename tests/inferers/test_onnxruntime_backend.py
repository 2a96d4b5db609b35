from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from monai_nce.inferers import onnx_export
from monai_nce.inferers.onnxruntime_backend import OnnxRuntimeBackend


@pytest.fixture
def path(network, exports) -> Path:
    return exports[onnx_export.network_key(network)]


def compare(network: torch.nn.Module, backend: OnnxRuntimeBackend, x: torch.Tensor) -> None:
    before = x.clone()
    got = backend(x)
    with torch.no_grad():
        torch.testing.assert_close(got, network.eval()(x), atol=1e-5, rtol=0)
    assert got.dtype == torch.float32 and torch.equal(x, before)


@pytest.mark.parametrize("size", [(1, 16, 24), (3, 16, 24), (2, 32, 8)])
def test_batches_and_images_of_any_size(network, path, size):
    count, height, width = size
    compare(network, OnnxRuntimeBackend(path), torch.rand(count, 3, height, width) * 2 - 1)


def test_memory_in_another_order_and_gradients_make_no_difference(network, path):
    x = torch.rand(2, 3, 16, 24)
    compare(network, OnnxRuntimeBackend(path), x.contiguous(memory_format=torch.channels_last))
    assert not OnnxRuntimeBackend(path)(x.requires_grad_()).requires_grad


@pytest.mark.parametrize(("threads", "workers"), [(1, 1), (2, 2), (6, 3)])
def test_the_threads_are_shared_among_the_workers(path, threads, workers, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    backend = OnnxRuntimeBackend(path)
    assert backend.workers == backend.sharing == workers and backend.threads == 1
    assert backend._session.get_session_options().intra_op_num_threads == threads // workers


def test_several_passes_at_once(network, path):
    backend = OnnxRuntimeBackend(path)
    work = [torch.rand(1, 3, 16, 8 + 8 * (index % 3)) for index in range(12)]
    with ThreadPoolExecutor(4) as pool, torch.no_grad():
        for x, got in zip(work, pool.map(backend, work), strict=True):
            torch.testing.assert_close(got, network.eval()(x), atol=1e-5, rtol=0)
