from __future__ import annotations

import pytest

from benchmarks.training import measure_training
from monai_nce.phantom import write_phantom_dataset
from tests.tiny import TINY


@pytest.fixture
def dataset(tmp_path):
    return write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)


def test_both_stages_are_measured(dataset):
    result = measure_training(dataset, iterations=2, rounds=2, **TINY)
    assert set(result) == {"stage1", "train"}
    for stage in result.values():
        part, seconds = stage["part_of_bare"], stage["seconds"]["trainer"]
        assert 0 < part["low"] <= part["median"] <= part["high"]
        assert stage["images_per_second"] == 2 / seconds["median"]  # multiplied instead, rounding fails it now and then
        assert stage["gflop_per_iteration"] > 0
