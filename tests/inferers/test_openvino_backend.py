from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from monai_nce.inferers.onnx_export import export_network
from monai_nce.inferers.openvino_backend import MOST_SIZES, OpenVinoBackend, import_openvino
from tests.test_imports import ROOT, sources


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.LeakyReLU(0.2), nn.Conv2d(4, 3, 1)
    ).eval()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export_network(network, torch.rand(1, 3, 8, 8), path)
    return path


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_batches_that_are_not_full_and_larger_ones(network, path, count):
    backend = OpenVinoBackend(path, torch.rand(1, 3, 8, 8), batch_size=3)
    assert backend.sharing == 1  # more batches than needed would be filled up
    x = torch.rand(count, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(backend(x), network(x), atol=1e-5, rtol=0)


def test_sizes_come_and_go(network, path):
    backend = OpenVinoBackend(path, torch.rand(1, 3, 8, 8), batch_size=2)
    for edge in [*range(4, 4 + MOST_SIZES + 3), 4, 8]:
        x = torch.rand(2, 3, edge, 8)
        with torch.no_grad():
            torch.testing.assert_close(backend(x), network(x), atol=1e-5, rtol=0)
        assert len(backend._compiled) <= MOST_SIZES


def test_several_threads_at_once(network, path):
    backend = OpenVinoBackend(path, torch.rand(1, 3, 8, 8), batch_size=2)
    work = [torch.rand(2, 3, 8, 4 + index % 3) for index in range(24)]
    with ThreadPoolExecutor(4) as pool, torch.no_grad():
        for x, got in zip(work, pool.map(backend, work), strict=True):
            torch.testing.assert_close(got, network(x), atol=1e-5, rtol=0)


def test_openvino_is_imported_without_its_telemetry() -> None:
    import_openvino()
    assert sys.modules["openvino_telemetry"] is None
    imports = re.compile(r"^ *(import|from) openvino\b", re.MULTILINE)
    files = [file for file in sources(ROOT, "monai_nce", "data_prep", "benchmarks") if imports.search(file.read_text())]
    assert [file.name for file in files] == ["openvino_backend.py"]
