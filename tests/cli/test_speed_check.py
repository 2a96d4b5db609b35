from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from monai_nce.cli.speed_check import measure_speed
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor
from monai_nce.handlers.weights.state_file import write_torch
from monai_nce.inferers import Runtime
from monai_nce.networks import Generator


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A network of two small blocks, for pixels of 6.4 mm."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, num_groups=4, residual=True)
    state: Any = network.state_dict()
    TrainedFor("NECT", "CECT", 50, 300, 6.4, 3).write_to(state, network)
    write_torch(state, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_the_bundle_s_inference_is_measured(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runtime, "_torch_seconds", lambda *given: 0.0)
    found = measure_speed(weights)
    assert found["size"] == [64, 64]  # 512 pixels of 0.8 mm
    assert found["backend"] == found["measured"] == "torch" and found["ready"]
    assert 0 < found["ms_per_slice"] == pytest.approx(10 * found["seconds"])
    assert list(weights.parent.iterdir()) == [weights]


def test_what_has_to_be_exported_first_is_named_and_not_made(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    if torch.cuda.is_available():
        pytest.skip("OpenVINO is for CPUs")
    monkeypatch.setattr(Runtime, "_torch_seconds", lambda *given: 1000.0)
    found = measure_speed(weights)
    assert (found["backend"], found["measured"], found["ready"]) == ("openvino", "torch", False)
    assert list(weights.parent.iterdir()) == [weights]


def test_weights_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("hello")
    with pytest.raises(InputError, match=r"model\.pt"):
        measure_speed(tmp_path / "model.pt")
