from __future__ import annotations

import torch

from benchmarks.brief_training import phantom_stacks, trained_briefly
from monai_nce.networks import Generator

CPU = torch.device("cpu")


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
