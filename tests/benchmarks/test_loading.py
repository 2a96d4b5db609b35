from __future__ import annotations

import time

from benchmarks.loading import measure_loader
from monai_nce.phantom import write_phantom_dataset
from tests.tiny import TINY


def test_stacks_are_counted_over_epochs(tmp_path):
    dataset = write_phantom_dataset(tmp_path / "set", patients=2, size=64, slices=4, progress=False)
    start = time.perf_counter()
    stacks_a_second = measure_loader(dataset, 0, batches=5, **TINY)  # of 2 stacks; an epoch has 2 batches
    assert stacks_a_second > 10 / (time.perf_counter() - start)
