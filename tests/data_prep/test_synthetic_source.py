from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine

from data_prep.synthetic_source import AuxiliaryNetwork
from monai_nce.errors import InputError
from monai_nce.handlers import TrainedFor, WeightsSaver
from monai_nce.networks import Generator
from monai_nce.transforms.window import WindowHU

TRAINED_FOR = TrainedFor("NECT", "CECT", 50, 300, 2.0, 3)


def weights(path: Path, trained_for: TrainedFor | None = None) -> Path:
    """Weights of a small auxiliary network that changes what it gets."""
    torch.manual_seed(0)
    network = Generator(channels=(8, 4), hidden_channels=4, num_groups=2, residual=False)
    WeightsSaver(network, path, trained_for=trained_for or TRAINED_FOR.reversed())(Engine(lambda *_: None))
    return path


def test_a_volume_is_what_the_network_makes_of_its_stacks(tmp_path: Path) -> None:
    auxiliary = AuxiliaryNetwork(weights(tmp_path / "auxiliary.pt"), WindowHU(), 2.0)
    hu = np.random.default_rng(0).integers(-1000, 1000, (8, 12, 1)).astype(np.int16)
    made = auxiliary(hu)
    with torch.no_grad():
        stack = WindowHU()(hu)[None, :, :, 0].expand(1, 3, 8, 12)  # of one slice, edges replicated
        expected = 150 * auxiliary.network(stack).mean(dim=1)[0] + 50
    assert made.shape == (8, 12, 1) and not auxiliary.network.training
    np.testing.assert_allclose(made[..., 0], expected, atol=1e-3)
    assert -100 <= made.min() < made.max() <= 200


def test_it_writes_each_items_synthetic_source_on_the_targets_grid(tmp_path: Path) -> None:
    auxiliary = AuxiliaryNetwork(weights(tmp_path / "auxiliary.pt"), WindowHU(), 2.0)
    affine, hu = np.diag([2.0, 2.0, 5.0, 1.0]), np.random.default_rng(1).integers(-100, 200, (8, 8, 4)).astype(np.int16)
    nib.save(nib.Nifti1Image(hu, affine), tmp_path / "t.nii")
    (item,) = auxiliary.write([{"patient": "a", "target": str(tmp_path / "t.nii")}], tmp_path, progress=False)
    image = nib.load(item["synthetic_source"])
    assert item["patient"] == "a" and np.array_equal(image.affine, affine)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), np.rint(auxiliary(hu)))


@pytest.mark.parametrize(
    ("said", "window", "spacing", "message"),
    [
        (TRAINED_FOR, WindowHU(), 2.0, "expected weights of an auxiliary network, models/auxiliary.pt of a training"),
        (None, WindowHU(500, 1000), 2.0, "for a window of level 50 and width 300, not for a window of level 500 and"),
        (None, WindowHU(), 1.0, "trained for pixels of 2.0 mm, not for pixels of 1.0 mm: give weights that a training"),
    ],
)
def test_other_weights_are_refused(
    said: TrainedFor | None, window: WindowHU, spacing: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        AuxiliaryNetwork(weights(tmp_path / "weights.pt", said), window, spacing)
    with pytest.raises(InputError, match="no such checkpoint"):
        AuxiliaryNetwork(tmp_path / "none.pt", window, spacing)
