from __future__ import annotations

from benchmarks.loading import measure_loader, measure_memory, sparse_patients
from monai_nce.data import SliceStackDataset


def test_sparse_patients_can_be_read_and_take_no_disk(tmp_path):
    items = sparse_patients(tmp_path, 3, 64, 40)
    dataset = SliceStackDataset(items)
    assert len(dataset) == 120
    assert dataset[119]["target"].shape == (3, 64, 64) and not dataset[119]["target"].any()
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.iterdir()) < 6 * 64 * 64 * 40


def test_speed_and_memory_are_measured(tmp_path):
    items = sparse_patients(tmp_path, 2, 16, 8)
    assert measure_loader(items, 4, 0, seconds=0.05) > 0
    memory = measure_memory(items, stacks=40)
    assert 0 < memory["before_mib"] <= memory["after_mib"] + 5
    assert memory["open_files"] > 0
