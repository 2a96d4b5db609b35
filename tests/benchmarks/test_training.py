from __future__ import annotations

import torch

from benchmarks.training import matmul_peak, measure_training
from monai_nce.data import write_phantom_dataset


def test_both_stages_are_measured(tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)
    tiny = {"in_plane_size": 64, "batch_size": 2, "network_def#channels": [8, 8], "network_def#hidden_channels": 8}
    tiny |= {"discriminator_def#channels": [8, 8], "classifier_def#channels": [4, 4, 8, 8, 8]}
    result = measure_training(dataset, iterations=2, rounds=2, **tiny)
    assert set(result) == {"stage1", "train"}
    for stage in result.values():
        part, seconds = stage["part_of_bare"], stage["seconds"]["trainer"]
        assert 0 < part["low"] <= part["median"] <= part["high"]
        assert stage["images_per_second"] == 2 / seconds["median"]  # multiplied instead, rounding fails it now and then
        assert stage["gflop_per_iteration"] > 0


def test_the_peak_of_a_matrix_product_is_positive():
    assert matmul_peak(torch.device("cpu"), torch.float32, 64) > 0
