from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.enhance import enhance
from monai_nce.errors import find_input_error
from monai_nce.networks import Generator


def test_volumes_go_through_the_bundles_inference(tmp_path):
    torch.manual_seed(0)
    network = Generator(channels=(8, 8), hidden_channels=8, residual=True)
    torch.nn.init.constant_(network.head.bias, 0.3)  # every voxel of the window grows brighter
    torch.save(network.state_dict(), tmp_path / "model.pt")
    hu = np.full((40, 50, 3), -1000.0)
    hu[5:35, 5:45] = 40
    volumes = {name: (hu[:n], np.diag([2.5, 2.5, 4.0, 1.0])) for name, n in (("one", 40), ("two", 38))}
    flags = {"network_def#channels": [8, 8], "network_def#hidden_channels": 8, "backend": "torch", "precision": "fp32"}
    made = enhance(volumes, tmp_path / "work", checkpoint=str(tmp_path / "model.pt"), **flags)
    assert {name: volume.shape for name, volume in made.items()} == {"one": (40, 50, 3), "two": (38, 50, 3)}
    assert (made["one"][hu < 0] == -1000).all() and 20 < made["one"][hu > 0].mean() - 40 < 60


def test_missing_weights_are_an_input_error(tmp_path):
    volumes = {"one": (np.linspace(-1000, 100, 8 * 8 * 2).reshape(8, 8, 2), np.eye(4))}
    with pytest.raises(Exception) as caught:
        enhance(volumes, tmp_path, checkpoint=str(tmp_path / "missing.pt"))
    assert "missing.pt" in str(find_input_error(caught.value))
