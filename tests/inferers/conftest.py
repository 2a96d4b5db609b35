"""Small generators, and their ONNX files made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from monai_nce.inferers import onnx_export
from monai_nce.networks import Generator


@pytest.fixture(scope="session")
def generator() -> Callable[..., Generator]:
    """``generator(seed, residual=…)`` gives the same weights again for a seed, residual or not."""

    def make(seed: int = 0, residual: bool = False) -> Generator:
        torch.manual_seed(seed)
        sizes = {"channels": (16, 8), "hidden_channels": 8, "num_groups": 4}
        made = [Generator(**sizes, residual=value) for value in (False, residual)]
        made[1].load_state_dict(made[0].state_dict())
        return made[1]

    return make


@pytest.fixture(scope="session")
def exports(generator: Callable[..., Generator], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real ONNX files by the key of their network: exporting takes seconds, so that each is made once."""
    made = {}
    for network in (generator(0), generator(1), generator(0, residual=True)):
        path = tmp_path_factory.mktemp("export") / "network.onnx"
        onnx_export._export(network, torch.rand(1, 3, 16, 24), path)
        made[onnx_export.network_key(network)] = path
    return made


@pytest.fixture
def export(exports: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exporting takes the file made before, and never touches the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        onnx_export, "_export", lambda network, stacks, path: shutil.copy(exports[path.name.split(".")[-2]], path)
    )


@pytest.fixture
def network(generator: Callable[..., Generator]) -> Generator:
    return generator()


@pytest.fixture
def stacks() -> torch.Tensor:
    return torch.rand(3, 3, 16, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1
