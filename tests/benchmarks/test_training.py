from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.training import matmul_peak, measure_compile, measure_training
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


def test_compiled_stages_take_turns_with_plain_ones(dataset, monkeypatch):
    made = []
    compile_ = nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda self: made.append(type(self).__name__) or compile_(self, backend="eager")
    )
    result = measure_compile(dataset, iterations=2, rounds=2, **TINY)
    assert set(result) == {"stage1", "train"}
    assert {"Generator", "Discriminator"} <= set(made)
    for stage in result.values():
        assert set(stage["seconds"]) == {"plain", "compiled"}
        assert 0 < stage["faster"]["low"] <= stage["faster"]["median"] <= stage["faster"]["high"]
        assert stage["compiling_s"] > 0


def test_the_peak_of_a_matrix_product_is_positive():
    assert matmul_peak(torch.device("cpu"), torch.float32, 64) > 0
