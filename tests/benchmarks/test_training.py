from __future__ import annotations

from benchmarks.training import measure_training
from monai_nce.phantom import write_phantom_dataset
from tests.tiny import TINY


def test_both_stages_are_measured(tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)
    result = measure_training(dataset, iterations=2, rounds=2, **TINY)
    assert set(result) == {"stage1", "stage2"}
    for stage in result.values():
        part, seconds = stage["part_of_bare"], stage["seconds"]
        assert 0 < part["low"] <= part["median"] <= part["high"]
        assert 0 < seconds["bare"]["low"] < 10 and stage["images_per_second"] == 2 / seconds["trainer"]["median"]
