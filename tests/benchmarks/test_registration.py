from __future__ import annotations

import pytest

from benchmarks.registration import measure
from monai_nce.phantom import write_phantom_dataset


def test_each_method_is_set_against_the_floor(tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=48, slices=12, progress=False)
    result = measure(dataset, ["affine"])
    assert list(result["methods"]) == ["unregistered", "affine"]
    row = result["methods"]["affine"]
    assert row["mse"] == pytest.approx(sum(row["mse_per_patient"].values()) / len(row["mse_per_patient"]))
    assert 0 < row["mse"] < result["methods"]["unregistered"]["mse"]
    assert row["seconds_per_patient"] > 0
    assert row["settings"]["window_level"] == 50
