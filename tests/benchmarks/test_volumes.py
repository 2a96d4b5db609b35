from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.volumes import SEVERAL, STRIDES, measure_strides, measure_volume, phantom_volume
from monai_nce.data import evaluation_pairs, read_ct, read_datalist
from monai_nce.networks import Generator
from monai_nce.phantom import write_phantom_dataset
from monai_nce.transforms import WindowHU

SLICES = 7


class Sloping(nn.Module):
    """Adds an amount of its own to each slice of a stack, so that averaging over stacks can be told from none."""

    def forward(self, stacks: torch.Tensor) -> torch.Tensor:
        return stacks + torch.tensor([-0.06, 0.0, 0.06])[:, None, None]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = write_phantom_dataset(
        tmp_path_factory.mktemp("strides") / "set", patients=2, size=32, slices=SLICES, progress=False
    )
    return read_datalist(folder, "training") + read_datalist(folder, "test")


def mse_of_the_input(items) -> float:
    errors = []
    for pair in evaluation_pairs(items):
        if pair["aligned"]:
            source, target = (WindowHU()(torch.from_numpy(read_ct(pair[key])[0]).float()) for key in ("image", "label"))
            errors.append(float((source - target).square().mean()))
    return float(np.mean(errors))


def test_strides_by_a_network_that_does_nothing_cost_nothing(items):
    result = measure_strides(nn.Identity(), items)
    assert result["patients"] == len(items)
    assert list(result["strides"]) == ["1", "2", "3"]
    for row in result["strides"].values():
        assert row["mean_hu_from_stride_1"] == pytest.approx(0, abs=1e-4)
        assert row["mse"] == pytest.approx(mse_of_the_input(items), rel=1e-5)


def test_what_strides_do_to_a_slope_by_hand(items):
    # Stride 1: -0.06, 0 and 0.06 cancel, but for both ends, where the slice stands for its missing neighbour too.
    stride_1 = np.array([-0.04, 0, 0, 0, 0, 0, 0.04])
    # Stride 3: centres 1, 4 and 5, as the last stack must not go beyond the end; slices 4 and 5 are in two stacks.
    stride_3 = np.array([-0.06, 0, 0.06, -0.06, -0.03, 0.03, 0.06])
    moved = measure_strides(Sloping(), items)["strides"]
    assert moved["1"]["mean_hu_from_stride_1"] == 0
    assert moved["3"]["mean_hu_from_stride_1"] == pytest.approx(150 * np.abs(stride_3 - stride_1).mean(), rel=1e-4)


def test_the_volume_is_made_once_with_its_spacing(tmp_path):
    path = phantom_volume(tmp_path / "volume.nii.gz", 32, 4, 1.5)
    image = nib.load(path)
    assert image.shape == (32, 32, 4)
    assert image.header.get_zooms() == pytest.approx((1.5, 1.5, 2.5))
    before = path.stat().st_mtime_ns
    assert phantom_volume(path, 64, 4, 1.5) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.slow  # a process that loads torch and monai
def test_files_are_measured_against_forward_passes(tmp_path):
    torch.manual_seed(0)
    network = Generator(channels=(8, 4), hidden_channels=4).eval()
    checkpoint = tmp_path / "model.pt"
    torch.save(network.state_dict(), checkpoint)
    image = phantom_volume(tmp_path / "volume.nii.gz", 64, 6, 1.3333)  # the paper's spacing
    result = measure_volume(network, image, checkpoint, tmp_path / "out", "torch", "fp32", rounds=1)
    assert (result["volume"], result["backend"]) == ([64, 64, 6], "torch fp32")
    parts = {f"{part}, stride {stride}" for part in ("file to file", f"each of {SEVERAL}") for stride in STRIDES}
    passes = {f"forwards, stride {stride}" for stride in STRIDES}
    assert set(result["over_forwards"]) == parts
    eager = {f"eager fp32, stride 1, {how}" for how in ("in memory", "file to file")}
    assert set(result["seconds"]) == set(result["faster_than_eager"]) == parts | passes | eager
    one = {name: row["median"] for name, row in result["seconds"].items()}  # the only round
    for name, row in result["faster_than_eager"].items():
        how = "in memory" if name.startswith("forwards") or name.endswith("in memory") else "file to file"
        assert row["median"] == pytest.approx(one[f"eager fp32, stride 1, {how}"] / one[name]), name
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in result["seconds"].values())
    assert all(row["max_hu"] < 0.05 for row in result["off"].values())
    assert len(list((tmp_path / "out" / "all").glob("*.nii.gz"))) == SEVERAL
    assert all(len(list((tmp_path / "out" / name).glob("*.nii.gz"))) == 1 for name in ("one", "eager"))
