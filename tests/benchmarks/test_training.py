from __future__ import annotations

import time

import torch

from benchmarks.training import measure_loader, measure_training, phantom_stacks, trained_briefly
from monai_nce.networks import Generator
from monai_nce.phantom import write_phantom_dataset
from tests.tiny import TINY

CPU = torch.device("cpu")


def test_both_stages_are_measured(tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)
    result = measure_training(dataset, iterations=2, rounds=2, **TINY)
    assert set(result) == {"stage1", "stage2"}
    for stage in result.values():
        part, seconds = stage["part_of_bare"], stage["seconds"]
        assert 0 < part["low"] <= part["median"] <= part["high"]
        assert 0 < seconds["bare"]["low"] < 10 and stage["images_per_second"] == 2 / seconds["trainer"]["median"]


def test_stacks_are_counted_over_epochs(tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)
    start = time.perf_counter()
    stacks_a_second = measure_loader(dataset, 0, batches=5, **TINY)  # of 2 stacks; an epoch has 2 batches
    assert stacks_a_second > 10 / (time.perf_counter() - start)


def small() -> Generator:
    torch.manual_seed(0)
    return Generator(channels=(8, 4), hidden_channels=4)


def test_stacks_are_aligned_slices_in_the_window():
    source, target = phantom_stacks(0, 32, 4)
    assert source.shape == target.shape == (4, 3, 32, 32)
    assert -1 == source.min() < source.max() <= 1
    assert torch.equal(source[1, 2], source[2, 1])
    assert ((source == -1) == (target == -1)).float().mean() > 0.98  # the same air
    shifted = (source[:, :, 3:] == -1) == (target[:, :, :-3] == -1)
    assert shifted.float().mean() < 0.95


def test_weights_are_trained_once(tmp_path):
    path = tmp_path / "weights.pt"
    trained = trained_briefly(small(), path, 32, 30, CPU)
    assert not trained.training
    source, target = phantom_stacks(0, 32, 16)
    with torch.no_grad():
        first, last = (float((net(source) - target).abs().mean()) for net in (small().eval(), trained))
    assert last < first
    before = path.stat().st_mtime_ns
    again = trained_briefly(Generator(channels=(8, 4), hidden_channels=4), path, 32, 30, CPU)
    assert path.stat().st_mtime_ns == before and not again.training
    assert all(torch.equal(a, b) for a, b in zip(trained.parameters(), again.parameters(), strict=True))
