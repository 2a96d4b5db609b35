from __future__ import annotations

import nibabel as nib
import pytest

from benchmarks.speed import _shipped
from benchmarks.volumes import measure_volume, phantom_volume


def test_the_volume_is_made_once_with_its_spacing(tmp_path):
    path = phantom_volume(tmp_path / "volume.nii.gz", 32, 4, 1.5)
    image = nib.load(path)
    assert image.shape == (32, 32, 4)
    assert image.header.get_zooms() == pytest.approx((1.5, 1.5, 2.5))
    before = path.stat().st_mtime_ns
    assert phantom_volume(path, 64, 4, 1.5) == path
    assert path.stat().st_mtime_ns == before


@pytest.mark.slow  # processes that load torch and monai
def test_files_are_measured_against_forward_passes(tmp_path):
    network, checkpoint = _shipped(tmp_path)
    image = phantom_volume(tmp_path / "volume.nii.gz", 64, 6, 5.3334)  # twice the network's spacing
    result = measure_volume(network, image, checkpoint, tmp_path / "out", "torch fp32", rounds=1)
    assert result["volume"] == [128, 128, 6]
    seconds = {name: row["median"] for name, row in result["seconds"].items()}
    assert list(seconds) == ["start", "cold", "warm", "forwards"]
    assert seconds["cold"] > seconds["warm"] > seconds["forwards"] > 0
    assert result["cold_over_warm"]["median"] == pytest.approx(seconds["cold"] / seconds["warm"])
    assert result["off"]["patch_hu"] < 0.05
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 1
